"""Names of Hugging Face's diffusers: `UNet2DModel` with the layers of DDPM.

`models/unets/unet_2d.py` of diffusers 0.42, and the names of attention in files that were written before version 0.15,
`google/ddpm-cifar10-32` among them.
"""

from .naming import Naming, Rules, fused

RULES: Rules = (
    (r"^conv_in\.", "first."),
    (r"^time_embedding\.linear_1\.", "embedding.0."),
    (r"^time_embedding\.linear_2\.", "embedding.2."),
    (r"^class_embedding\.", "classes."),
    (r"^conv_norm_out\.", "norm."),
    (r"^conv_out\.", "last."),
    (r"^(down|up)_blocks\.(\d+)\.resnets\.(\d+)\.", r"\1.\2.\3.block."),
    (r"^(down|up)_blocks\.(\d+)\.attentions\.(\d+)\.", r"\1.\2.\3.attention."),
    (r"^(down|up)_blocks\.(\d+)\.(down|up)samplers\.0\.", r"\1sample.\2."),
    (r"^mid_block\.resnets\.(\d+)\.", r"middle.\1.block."),
    (r"^mid_block\.attentions\.0\.", "middle.0.attention."),
    (r"\.time_emb_proj\.", ".step."),
    (r"\.conv_shortcut\.", ".shortcut."),
    (r"\.attention\.group_norm\.", ".attention.norm."),
    (r"\.attention\.(?:to_q|query)\.", ".attention.attention.query."),
    (r"\.attention\.(?:to_k|key)\.", ".attention.attention.key."),
    (r"\.attention\.(?:to_v|value)\.", ".attention.attention.value."),
    (r"\.attention\.(?:to_out\.0|proj_attn)\.", ".attention.attention.output."),
)
NAMINGS = (
    Naming(
        "diffusers",
        marks=(r"^down_blocks\.0\.resnets\.0\.time_emb_proj\.",),
        rules=RULES,
        note="the epsilon of group normalisation is 1e-6 here, as the authors of DDPM have it; diffusers has what its "
        "config.json says (norm_eps)",
        arrange=fused,
    ),
)
