"""Under which terms the weights of each source are, and who says so; beside the tables of their names."""

from ..licences import Terms

DATA = "the terms of the data that they were trained on may hold for them, too"

TERMS = {
    "torchvision": Terms(
        f"BSD 3-Clause for the code; {DATA}: ImageNet's; SWAG's are CC BY-NC 4.0",
        "github.com/pytorch/vision, README, «Pre-trained Model License»",
        "the paper of the network, and torchvision 2016",
    ),
    "timm": Terms(
        f"Apache 2.0 for the code; {DATA}: ImageNet's for most; each file has a card",
        "github.com/huggingface/pytorch-image-models, LICENSE and discussion 239; huggingface.co/timm/NAME",
        "Wightman 2019, PyTorch Image Models, doi:10.5281/zenodo.4414861, and what the card names",
    ),
    "Hugging Face": Terms(
        "that on the card: Apache 2.0 for google-bert/bert-* and google/bert_uncased_*; MIT for "
        "openai-community/gpt2*, OpenAI's modified one, which asks to say what was made by GPT-2",
        "huggingface.co/OWNER/NAME, card; github.com/openai/gpt-2, LICENSE",
        "Devlin et al. 2018, arXiv:1810.04805; Radford et al. 2019; else what the card names",
    ),
    "diffusers": Terms(
        "that on the card: Apache 2.0 for google/ddpm-cifar10-32",
        "huggingface.co/google/ddpm-cifar10-32, card",
        "Ho, Jain, Abbeel 2020, arXiv:2006.11239",
    ),
    "kuangliu/pytorch-cifar": Terms(
        "MIT",
        "github.com/kuangliu/pytorch-cifar, LICENSE",
        "the repository",
    ),
    "akamaster/pytorch_resnet_cifar10": Terms(
        "BSD 2-Clause", "github.com/akamaster/pytorch_resnet_cifar10, LICENSE", "Idelbayev 2018, as its README asks"
    ),
    "chenyaofo/pytorch-cifar-models": Terms(
        "BSD 3-Clause", "github.com/chenyaofo/pytorch-cifar-models, LICENSE", "the repository"
    ),
    "weiaicunzai/pytorch-cifar100": Terms(
        "none named", "github.com/weiaicunzai/pytorch-cifar100, which has no file LICENSE", "the repository"
    ),
    "xternalz/WideResNet-pytorch": Terms(
        "none named", "github.com/xternalz/WideResNet-pytorch, which has no file LICENSE", "the repository"
    ),
    "yaodongyu/TRADES": Terms("MIT", "github.com/yaodongyu/TRADES, LICENSE", "Zhang et al. 2019, arXiv:1901.08573"),
    "inception": Terms(
        "Apache 2.0, as torch-fidelity, which distributes them; ImageNet's terms for what it was trained on",
        "LICENSE.md in the wheel of torch-fidelity 0.4",
        "Szegedy et al. 2015, arXiv:1512.00567; Heusel et al. 2017, arXiv:1706.08500",
    ),
}
