"""Made sentences, and questions about a text."""

import json
import random
import re
from pathlib import Path
from typing import Any

from torchatlas.data.labelled import squad
from torchatlas.data.text.tokenizer import TokenizerCodec

CONTEXT = "Seven small cats sleep under old trees, while the lazy dog jumps over a quick brown fox."
WORDS = re.findall("[a-z]+", CONTEXT.lower())


def sentences(n: int, seed: int = 0, longest: int = 20) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randint(1, longest))) for _ in range(n)]


# --- answers


def question(answer: str, text: str = CONTEXT, title: str = "") -> squad.Question:
    return squad.Question("cats", text, [answer], [text.index(answer)], title)


def windows(codec: TokenizerCodec, questions: list[squad.Question], **options: Any) -> squad.SpanWindows:
    sizes = {"max_length": 24, "max_question": 4, "stride": 5, "exact": True, "unanswerable": False, **options}
    return squad.SpanWindows(codec, questions, first=2, separator=3, **sizes)


def squad_file(path: Path, questions: list[squad.Question]) -> None:
    content = [
        {
            "title": q.title,
            "paragraphs": [
                {
                    "context": q.context,
                    "qas": [
                        {
                            "id": str(i),
                            "question": q.question,
                            "answers": [
                                {"text": a, "answer_start": s} for a, s in zip(q.answers, q.starts, strict=True)
                            ],
                        }
                    ],
                }
            ],
        }
        for i, q in enumerate(questions)
    ]
    path.write_text(json.dumps({"version": "1.1", "data": content}))
