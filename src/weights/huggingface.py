"""Names of Hugging Face's transformers: a table for each kind of network.

ViT and DeiT: `models/vit/modeling_vit.py` and `models/deit/modeling_deit.py` of transformers 5.23, and the names in
files that were written before version 5.
"""

from .naming import Naming, Rules, fused

SOURCE = "huggingface"

VIT: Rules = (
    (r"^(vit|deit)\.", ""),
    (r"^embeddings\.cls_token$", "class_token"),
    (r"^embeddings\.distillation_token$", "distillation_token"),
    (r"^embeddings\.position_embeddings$", "positions"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patches."),
    (r"^(?:encoder\.layer|layers)\.(\d+)\.", r"layers.\1."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    # before version 5
    (r"\.attention\.attention\.(query|key|value)\.", r".attention.\1."),
    (r"\.attention\.output\.dense\.", ".attention.output."),
    (r"\.intermediate\.dense\.", ".up."),
    (r"^(layers\.\d+)\.output\.dense\.", r"\1.down."),
    # from version 5 on
    (r"\.attention\.q_proj\.", ".attention.query."),
    (r"\.attention\.k_proj\.", ".attention.key."),
    (r"\.attention\.v_proj\.", ".attention.value."),
    (r"\.attention\.o_proj\.", ".attention.output."),
    (r"\.mlp\.fc1\.", ".up."),
    (r"\.mlp\.fc2\.", ".down."),
    (r"^layernorm\.", "norm."),
    (r"^(cls_)?classifier\.", "head."),
    (r"^distillation_classifier\.", "head_distillation."),
)
NAMINGS = (
    Naming(
        SOURCE,
        marks=(r"^((vit|deit)\.)?embeddings\.cls_token$", r"\.layernorm_before\."),
        without=(r"\.lambda_1$",),
        rules=VIT,
        note="Hugging Face's ViT and DeiT have an epsilon of 1e-12 in layer normalisation where ours has 1e-6, which "
        "changes the logits by about a millionth: of ViT model.eps=1e-12 is the same",
        arrange=fused,
    ),
)
