"""The command `torchatlas`; `USAGE` says what it can do."""

import sys
from collections.abc import Callable

from .commands.words import number, parse, switch
from .errors import UserError, nearest
from .version import __version__
from .zoo import ModelCard, list_models, model_card

USAGE = """\
usage: torchatlas COMMAND [KEY=VALUE ...]

    train     train a network; `torchatlas train --help` shows the zoo
    list      the networks: name, parameters, task, default data, paper
    show      MODEL [image_size=32] [num_classes=10] ...: a table of its layers with output shape, parameters,
              multiply-accumulates and receptive field
    preview   data=cifar10 [augment=trivialaugment] ... [n=8] [epochs=6] [output=FILE.png]: what augmentation does
    lr_range  KEY=VALUE of train ... [low=1e-6] [high=10] [steps=100] [output=FILE.png]: the learning rate range test
    plan      KEY=VALUE of train ... [samples=12] [output=FILE.json] [against=<run folder>]: memory, FLOP, steps, time
              and disk of a training, before it; and what a run then used
    evaluate  ckpt=<run folder | checkpoint> [split=test|val|train] [data.root=FOLDER] [output=FILE.json]
              classifiers: [tta=none|flip|ten] [mc_samples=20] [seed=0]
    predict   ckpt=<run folder | checkpoint> input=<file or folder> [output=FILE.csv]
              images: [top=3] [tta=none|flip|ten] [mc_samples=20]; text: [length=200] [temperature=0.8] [seed=0];
              sounds: [top=3] [mc_samples=20]; a table of series: [mode=forecast|anomalies] [threshold=5];
              masks into output=FOLDER: [tile=1024] [overlap=PIXELS] [resize=PIXELS] [probabilities=true]
    generate  ckpt=<run folder | checkpoint> [prompt="..." | input=<file with a prompt on each line>] [length=200]
              [temperature=0.8] [top_k=0] [top_p=1] [samples=1] [seed=0] [stop=TEXT] [beams=1] [output=FILE]
              [cache=true]
    translate ckpt=<run folder | checkpoint> input=<sentence, or file with one on each line> [output=FILE] [beams=5]
              [length_penalty=0.6] [max_length=0] [alignment=FILE.png] [cache=true]
    fill      ckpt=<run folder | checkpoint> text="The [MASK] of the list." | input=<file with a text on each line>
              [top=5] [output=FILE.csv]: what a masked language model writes in place of [MASK]
    sample    ckpt=<run folder | checkpoint> [n=64] [seed=0] [output=FOLDER]: images by a VAE or a diffusion; of a
              diffusion [sampler=ddpm|ddim|dpm_solver] [steps=50] [eta=0] [class=NAME|A,B|all] [guidance=2] [batch=64]
    reconstruct, interpolate  ckpt=<run folder | checkpoint> [input=<files or folders, with commas between>]
              [output=FILE.png] [data.root=FOLDER]; of a diffusion [depth=0.5] [seed=0]; [n=16] images are
              reconstructed, or [rows=8] pairs have lines of [steps=10] images between them
    inpaint   ckpt=<run folder | checkpoint> [input=<files or folders>] [mask=left|right|top|bottom|centre|FILE] [n=8]
              [steps=250] [repeats=10] [class=NAME] [guidance=2] [seed=0] [output=FOLDER] [data.root=FOLDER]
    quality   ckpt=<run folder | checkpoint> | input=<folder of samples> [n=10000] [reference=train|test|FOLDER]
              [metrics=fid,kid,is,neighbours] [inception=FILE] [classifier=<run folder>] [output=quality.json] [seed=0]
              [sampler=ddim] [steps=50] [guidance=0] [batch=250] [references=0] [data.root=FOLDER]
    explain   ckpt=<run folder | checkpoint> [input=<image, folder or text>] [output=FOLDER] [class=NAME] [layer=NAME]
              [methods=filters,features,gradcam,saliency,occlusion,maximisation,lesion,gradients,attention]; sequences:
              [methods=gradients,gates,singular_values,receptive_field,causality]; texts and translations, by networks
              with attention: [methods=attention,positions,gradients]
    export    ckpt=<run folder | checkpoint> [output=FOLDER] [formats=safetensors,torch,onnx]; BERT, GPT-2 and ViT also
              formats=huggingface, networks that torchvision has also formats=torchvision
    prepare   input=<file, folder or '*.txt'> output=FOLDER [tokenizer=<file or folder> | by=bpe vocab_size=16384]
              [share=0.01]: long texts as tokens, for data=token_file; typed again it goes on where it was stopped
    sweep     [trials=20] [sampler=tpe] [pruner=median] KEY=VALUE ... with values to search among, as in
              optim.lr=log(1e-4,1e-1) model.dropout=interval(0,0.5) optim=adamw,momentum;
              resume=<sweep folder> [trials=40] goes on with one
"""


def train(arguments: list[str]) -> None:
    """The program of train.py."""
    from . import train as program

    # Lightning starts the other processes of a distributed run by this path and these arguments.
    sys.argv[:] = [str(program.__file__), *arguments]
    program.main()


def show_list(arguments: list[str]) -> None:
    """A line for each network, from the config files alone."""
    parse(arguments, {})
    cards = [model_card(name) for name in list_models()]

    def row(card: ModelCard) -> tuple[str, str, str, str, str]:
        return card.name, f"{card.parameters:,}", card.task, card.data, card.paper

    rows = [("name", "parameters", "task", "data", "paper"), *map(row, cards)]
    widths = [max(len(r[i]) for r in rows) for i in range(4)]
    for name, parameters, task, data, paper in rows:
        print(f"{name:<{widths[0]}}  {parameters:>{widths[1]}}  {task:<{widths[2]}}  {data:<{widths[3]}}  {paper}")


def evaluate(arguments: list[str]) -> None:
    """Figures of a checkpoint on a split of its data."""
    known = {
        "ckpt": None,
        "split": "test",
        "data.root": "",
        "output": "",
        "tta": "none",
        "mc_samples": "0",
        "seed": "0",
    }
    values = parse(arguments, known)
    from .commands.evaluate import evaluate as evaluate_evaluate

    evaluate_evaluate(
        values["ckpt"], values["split"], values["data.root"], values["output"], tta=values["tta"],
        mc_samples=int(number(values, "mc_samples", int)), seed=int(number(values, "seed", int)),
    )  # fmt: skip


def predict(arguments: list[str]) -> None:
    """What a checkpoint says of a user's files."""
    known = {
        "ckpt": None, "input": None, "output": "", "top": "1", "length": "200", "temperature": "0.8", "seed": "0",
        "tta": "none", "mc_samples": "0", "mode": "forecast", "threshold": "5", "tile": "1024", "overlap": "",
        "resize": "", "probabilities": "false",
    }  # fmt: skip
    values = parse(arguments, known)
    from .commands.predict import predict as predict_predict

    predict_predict(
        values["ckpt"], values["input"], values["output"], top=int(number(values, "top", int)),
        length=int(number(values, "length", int)), temperature=number(values, "temperature", float),
        seed=int(number(values, "seed", int)), tta=values["tta"],
        mc_samples=int(number(values, "mc_samples", int)), mode=values["mode"],
        threshold=number(values, "threshold", float), tile=int(number(values, "tile", int)),
        overlap=int(number(values, "overlap", int)) if values["overlap"] else None,
        resize=int(number(values, "resize", int)) if values["resize"] else None,
        probabilities=switch(values, "probabilities"),
    )  # fmt: skip


def generate(arguments: list[str]) -> None:
    """Texts by a language model."""
    known = {
        "ckpt": None, "prompt": "", "input": "", "output": "", "length": "200", "temperature": "0.8", "top_k": "0",
        "top_p": "1", "beams": "1", "samples": "1", "seed": "0", "stop": "", "cache": "true",
    }  # fmt: skip
    values = parse(arguments, known)
    whole = {key: int(number(values, key, int)) for key in ("length", "top_k", "beams", "samples", "seed")}
    real = {key: number(values, key, float) for key in ("temperature", "top_p")}
    cache = switch(values, "cache")
    from .commands.generate import generate as generate_generate

    generate_generate(
        values["ckpt"], values["prompt"], values["input"], values["output"], stop=values["stop"], cache=cache,
        length=whole["length"], top_k=whole["top_k"], beams=whole["beams"], samples=whole["samples"],
        seed=whole["seed"], temperature=real["temperature"], top_p=real["top_p"],
    )  # fmt: skip


def translate(arguments: list[str]) -> None:
    """Sentences by a translator."""
    known = {
        "ckpt": None, "input": None, "output": "", "beams": "5", "length_penalty": "0.6", "max_length": "0",
        "alignment": "", "cache": "true",
    }  # fmt: skip
    values = parse(arguments, known)
    beams, max_length = (int(number(values, key, int)) for key in ("beams", "max_length"))
    length_penalty, cache = number(values, "length_penalty", float), switch(values, "cache")
    from .commands.translate import translate as translate_translate

    translate_translate(
        values["ckpt"], values["input"], values["output"], beams=beams, length_penalty=length_penalty,
        max_length=max_length, alignment=values["alignment"], cache=cache,
    )  # fmt: skip


def fill(arguments: list[str]) -> None:
    """What a masked language model writes in place of [MASK]."""
    values = parse(arguments, {"ckpt": None, "text": "", "input": "", "top": "5", "output": ""})
    from .commands.fill import fill as guess

    guess(values["ckpt"], values["text"], values["input"], values["output"], top=int(number(values, "top", int)))


def sample(arguments: list[str]) -> None:
    """Images of a network's own."""
    known = {
        "ckpt": None, "output": "", "n": "64", "seed": "0", "class": "", "guidance": "0", "sampler": "", "steps": "0",
        "eta": "0", "batch": "64",
    }  # fmt: skip
    values = parse(arguments, known)
    whole = {key: int(number(values, key, int)) for key in ("n", "seed", "steps", "batch")}
    guidance, eta = number(values, "guidance", float), number(values, "eta", float)
    from .commands.sample import sample as sample_sample

    sample_sample(
        values["ckpt"], values["output"], n=whole["n"], seed=whole["seed"], label=values["class"], guidance=guidance,
        sampler=values["sampler"], steps=whole["steps"], eta=eta, batch=whole["batch"],
    )  # fmt: skip


def reconstruct(arguments: list[str]) -> None:
    """Images, and what a network makes of them."""
    known = {"ckpt": None, "input": "", "output": "", "n": "16", "depth": "0", "seed": "0", "data.root": ""}
    values = parse(arguments, known)
    n, seed, depth = int(number(values, "n", int)), int(number(values, "seed", int)), number(values, "depth", float)
    from .commands.reconstruct import reconstruct as reconstruct_reconstruct

    reconstruct_reconstruct(
        values["ckpt"], values["input"], values["output"], n=n, depth=depth, seed=seed, root=values["data.root"]
    )


def interpolate(arguments: list[str]) -> None:
    """Images between images."""
    known = {
        "ckpt": None, "input": "", "output": "", "steps": "10", "rows": "8", "depth": "0", "seed": "0", "data.root": "",
    }  # fmt: skip
    values = parse(arguments, known)
    steps, rows, seed = (int(number(values, key, int)) for key in ("steps", "rows", "seed"))
    depth = number(values, "depth", float)
    from .commands.interpolate import interpolate as interpolate_interpolate

    interpolate_interpolate(
        values["ckpt"], values["input"], values["output"], steps=steps, rows=rows, depth=depth, seed=seed,
        root=values["data.root"],
    )  # fmt: skip


def inpaint(arguments: list[str]) -> None:
    """Hidden parts of images, made by a diffusion."""
    known = {
        "ckpt": None, "input": "", "mask": "centre", "output": "", "n": "8", "class": "", "guidance": "0",
        "steps": "250", "repeats": "10", "seed": "0", "data.root": "",
    }  # fmt: skip
    values = parse(arguments, known)
    whole = {key: int(number(values, key, int)) for key in ("n", "steps", "repeats", "seed")}
    guidance = number(values, "guidance", float)
    from .commands.inpaint import inpaint as inpaint_inpaint

    inpaint_inpaint(
        values["ckpt"], values["input"], values["mask"], values["output"], n=whole["n"], label=values["class"],
        guidance=guidance, steps=whole["steps"], repeats=whole["repeats"], seed=whole["seed"],
        root=values["data.root"],
    )  # fmt: skip


def quality(arguments: list[str]) -> None:
    """Generated images beside real ones."""
    known = {
        "ckpt": "", "input": "", "n": "10000", "reference": "train", "references": "", "metrics": "", "inception": "",
        "classifier": "", "seed": "0", "batch": "250", "data.root": "", "output": "quality.json", "sampler": "",
        "steps": "", "guidance": "", "eta": "",
    }  # fmt: skip
    values = parse(arguments, known)
    whole = {key: int(number(values, key, int)) for key in ("n", "seed", "batch")}
    references = int(number(values, "references", int)) if values["references"] else None
    options: dict[str, str | float] = {"sampler": values["sampler"]} if values["sampler"] else {}
    for key, kind in (("steps", int), ("guidance", float), ("eta", float)):
        if values[key]:
            options[key] = number(values, key, kind)
    from .commands.quality import quality as compare

    compare(
        values["ckpt"], values["input"], n=whole["n"], reference=values["reference"], references=references,
        metrics=values["metrics"], inception=values["inception"], classifier=values["classifier"], seed=whole["seed"],
        batch=whole["batch"], root=values["data.root"], output=values["output"], options=options,
    )  # fmt: skip


def show(arguments: list[str]) -> None:
    """The layers of a network."""
    from .commands.show import show as show_layers

    show_layers(arguments)


def preview(arguments: list[str]) -> None:
    """Original and augmented images."""
    from .commands.preview import preview as draw

    draw(arguments)


def lr_range(arguments: list[str]) -> None:
    """The learning-rate range test."""
    from .commands.lr_range import run

    run(arguments)


def plan(arguments: list[str]) -> None:
    """What a training will take, and what a run took."""
    from .commands.plan import run

    run(arguments)


def explain(arguments: list[str]) -> None:
    """Pictures of what an image classifier computes, and of what its answers rest on."""
    known = {"ckpt": None, "input": "", "output": "", "class": "", "layer": "", "methods": ""}
    values = parse(arguments, known)
    from .commands.explain import explain as look

    look(values["ckpt"], values["input"], values["output"], values["class"], values["layer"], values["methods"])


def export(arguments: list[str]) -> None:
    """A checkpoint as files for other programs."""
    values = parse(arguments, {"ckpt": None, "output": "", "formats": "safetensors,torch,onnx"})
    from .commands.export import export as export_files

    export_files(values["ckpt"], values["output"], values["formats"])


def prepare(arguments: list[str]) -> None:
    """Long texts as files of tokens."""
    from .commands.prepare import prepare as write

    write(arguments)


def search(arguments: list[str]) -> None:
    """Trials with values that Optuna chooses."""
    from .commands.sweep import sweep

    sweep(arguments)


COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "train": train,
    "list": show_list,
    "show": show,
    "preview": preview,
    "lr_range": lr_range,
    "plan": plan,
    "evaluate": evaluate,
    "predict": predict,
    "generate": generate,
    "translate": translate,
    "fill": fill,
    "sample": sample,
    "reconstruct": reconstruct,
    "interpolate": interpolate,
    "inpaint": inpaint,
    "quality": quality,
    "explain": explain,
    "export": export,
    "prepare": prepare,
    "sweep": search,
}


def main() -> None:
    """Entry point of the console script."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(USAGE, end="")
        return
    if arguments[0] == "--version":
        print(__version__)
        return
    command = arguments[0]
    try:
        if command not in COMMANDS:
            raise UserError(f"there is no command {command!r}{nearest(command, list(COMMANDS))}")
        if command != "train" and {"-h", "--help"} & set(arguments):
            print(USAGE, end="")
            return
        COMMANDS[command](arguments[1:])
    except UserError as error:
        print(f"torchatlas: {error}", file=sys.stderr)
        sys.exit(2)
    except Exception as error:
        if "hydra" not in sys.modules:
            raise
        from .run.mistakes import refuse_or_raise  # only now: `list` has to be quick

        refuse_or_raise(error)


if __name__ == "__main__":
    main()
