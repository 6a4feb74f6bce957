"""Which networks are ours, because no library has them: name -> module of this package, function, first arguments.

The functions are called with those of build's options that they take, by name. Names begin as timm's would, and what
follows the dot says how they differ.
"""

OWN: dict[str, tuple[str, ...]] = {
    "convnext_tiny.fb": ("convnext_fb", "convnext", "tiny"),
    "convnext_small.fb": ("convnext_fb", "convnext", "small"),
    "convnext_base.fb": ("convnext_fb", "convnext", "base"),
    "convnext_iso_small": ("isotropic", "convnext_iso", "small"),
    "convnext_iso_base": ("isotropic", "convnext_iso", "base"),
    "inception_next_iso_small": ("isotropic", "inception_next_iso", "small"),
    "inception_next_iso_base": ("isotropic", "inception_next_iso", "base"),
    "metanext_attn_small": ("isotropic", "metanext_attn", "small"),
    "inception_next_tiny.without_1x11": ("ablation", "without_branch", "1x11"),
    "inception_next_tiny.without_11x1": ("ablation", "without_branch", "11x1"),
    "inception_next_tiny.without_3x3": ("ablation", "without_branch", "3x3"),
    "inception_next_tiny.bands_in_sequence": ("ablation", "bands_in_sequence"),
    "inception_next_tiny.layer_norm": ("ablation", "layer_norm"),
    "poolformer_s12.inception": ("inception_inside", "metaformer", "poolformer_s12"),
    "poolformer_s24.inception": ("inception_inside", "metaformer", "poolformer_s24"),
    "convformer_s18.inception": ("inception_inside", "metaformer", "convformer_s18"),
    "swin_tiny_patch4_window7_224.inception": ("inception_inside", "swin", "swin_tiny_patch4_window7_224"),
    "pvt_small": ("pvt", "pvt", "small"),
    "pvt_medium": ("pvt", "pvt", "medium"),
    "pvt_large": ("pvt", "pvt", "large"),
    "t2t_vit_14": ("t2t_vit", "t2t_vit", "14"),
    "t2t_vit_19": ("t2t_vit", "t2t_vit", "19"),
    "t2t_vit_24": ("t2t_vit", "t2t_vit", "24"),
    "focal_tiny": ("focal", "focal", "tiny"),
    "focal_small": ("focal", "focal", "small"),
    "focal_base": ("focal", "focal", "base"),
    "replknet_31b": ("replknet", "replknet", "training"),
    "replknet_31b.merged": ("replknet", "replknet", "merged"),
}

# What can be segmented with, as upernet.BACKBONE and semantic_fpn.BACKBONE (Tables 6 and 7). ResNet-50 and -101 are
# V1c there, whose stem is three 3 x 3 convolutions, as in mmsegmentation.
HEADS = ("upernet", "semantic_fpn")
