"""The axes that the shipped cases share, with their defaults; the command line reads its options from here."""

from benchbench.case import Axis, batch_size, odd_size, positive_integer, ratio, shape

T_STAGES = ("96x56x56", "192x28x28", "384x14x14", "768x7x7")
STAGES = {
    "A": ("40x56x56", "80x28x28", "160x14x14", "320x7x7"),
    "T": T_STAGES,
    "S": T_STAGES,
    "B": ("128x56x56", "256x28x28", "512x14x14", "1024x7x7"),
}

PRECISIONS = ("fp32", "tf32", "amp", "amp-fp16", "amp-bf16", "fp16", "bf16")
LAYOUTS = ("nchw", "nhwc", "best")
BACKENDS = ("aten", "native", "cudnn", "triton", "triton-blocks", "naive")
COMPILE_MODES = ("eager", "default", "max-autotune", "max-autotune-no-cudagraphs", "reduce-overhead")
OPTIMIZERS = ("sgd", "adamw", "sgd-fused", "adamw-fused")

KERNEL_SIZE = Axis("kernel_size", (3, 5, 7, 11), flag="--kernels", parse=odd_size)
RATIO = Axis("ratio", ("1/8",), flag="--ratio", parse=ratio)
SHAPE = Axis("shape", T_STAGES, flag="--shape", parse=shape)
BATCH = Axis("batch", (128,), flag="--batch", parse=batch_size)
IMG_SIZE = Axis("img_size", (224,), flag="--img-size", parse=positive_integer)
PRECISION = Axis("precision", ("fp32", "amp"), flag="--precision", choices=PRECISIONS)
LAYOUT = Axis("layout", ("best",), flag="--layout", choices=LAYOUTS)
OPERATOR_MODE = Axis(
    "mode", ("forward", "forward_backward"), flag="--mode", choices=("forward", "backward", "forward_backward")
)
NETWORK_MODE = Axis("mode", ("infer", "train"), flag="--mode", choices=("infer", "train"))
BACKEND = Axis("backend", ("aten", "triton"), flag="--backend", choices=BACKENDS)
COMPILE = Axis("compile", ("eager",), flag="--compile", choices=COMPILE_MODES)
CACHE = Axis("cache", ("cold",), flag="--cache", choices=("cold", "warm", "both"))
OPTIMIZER = Axis("optimizer", ("sgd",), flag="--optimizer", choices=OPTIMIZERS)
