"""A case of your own: bench sweep --import examples/softmax_case.py --op softmax"""

from benchbench import Axis, Work, Workload, case
from benchbench.case import positive_integer


@case(Axis("rows", (256, 1024), parse=positive_integer))
def softmax(rows: int) -> Workload:
    def make(device):
        import torch

        return {"x": torch.randn(rows, 1024, device=device)}

    def plain(state):
        exponentials = (state["x"] - state["x"].amax(-1, keepdim=True)).exp()
        return exponentials / exponentials.sum(-1, keepdim=True)

    size = rows * 1024 * 4
    return Workload(make, lambda state: state["x"].softmax(-1), Work(size, size, 5 * rows * 1024, rows), plain)
