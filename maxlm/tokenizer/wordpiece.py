"""The tokenizer beside an encoder's weights: a door to the `tokenizers` package.

Any tokenizer.json will do (WordPiece, byte-level BPE, Unigram), or a bare vocab.txt as in the first BERT checkpoints.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import tokenizers

from maxlm.errors import DataError
from maxlm.paths import PathLike, as_path, read_json, read_whole, write_atomic
from maxlm.tokenizer import huggingface

TOKENIZER_FILE, SETTINGS_FILE, VOCAB_FILE = "tokenizer.json", "tokenizer_config.json", "vocab.txt"
# Kept as they are, so that transformers finds what it knows.
_BESIDE = (SETTINGS_FILE, VOCAB_FILE, "special_tokens_map.json", "added_tokens.json")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


class EncoderTokenizer:
    """Text to ids. `load` or `train` makes one.

    Attributes:
      vocab_size: ids are below this.
      first_id: stands before each sequence ([CLS], <s>); the head looks at its place.
      last_id: stands after it ([SEP], </s>).
    """

    def __init__(self, tokenizer: Any, where: object = "tokenizer", beside: dict[str, bytes] | None = None):
        """`tokenizer`: a `tokenizers.Tokenizer`. `beside`: other files to save with it, by name.

        Raises:
          DataError: it doesn't put exactly one token before and one after a text.
        """
        tokenizer.no_truncation()
        tokenizer.no_padding()
        around = tokenizer.encode("").ids
        if len(around) != 2:
            raise DataError(
                f"{where}: puts {len(around)} tokens around a text; an encoder's puts one before, one after"
            )
        self.first_id, self.last_id = around
        self.vocab_size: int = tokenizer.get_vocab_size(with_added_tokens=True)
        self._tokenizer, self._beside = tokenizer, beside or {}

    @classmethod
    def load(cls, folder: PathLike) -> "EncoderTokenizer":
        """Reads tokenizer.json, or builds BERT's WordPiece from vocab.txt.

        Raises:
          DataError: neither file is there, or it is damaged.
        """
        folder = as_path(folder)
        beside = {name: read_whole(folder / name, "a tokenizer") for name in _BESIDE if (folder / name).exists()}
        path = folder / TOKENIZER_FILE
        if path.exists():
            return cls(huggingface.parse(read_whole(path, "a tokenizer"), path), path, beside)
        if VOCAB_FILE not in beside:
            raise DataError(
                f"{folder}: no {TOKENIZER_FILE} and no {VOCAB_FILE}; transformers' save_pretrained writes one"
            )
        settings = read_json(folder / SETTINGS_FILE, "settings of a tokenizer") if SETTINGS_FILE in beside else {}
        lines = beside[VOCAB_FILE].decode(errors="replace").splitlines()
        where = folder / VOCAB_FILE
        return cls(_wordpiece({word: i for i, word in enumerate(lines)}, settings, where), where, beside)

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int, lowercase: bool = True) -> "EncoderTokenizer":
        """WordPiece as BERT's, Chinese split into characters, trained on `texts`. The same counts give the same ids.

        The package numbers the pieces of words ("##x") in the order of a hash table, so that ties, and with them the
        vocabulary, come out otherwise in each process. Named to it beforehand, in their order, they are settled.
        """
        settings: dict[str, Any] = {"do_lower_case": lowercase}
        bare = _wordpiece({word: i for i, word in enumerate(SPECIAL)}, settings, "new tokenizer")
        texts, inner = list(texts), Counter[str]()
        for text in texts:
            for word, _ in bare.pre_tokenizer.pre_tokenize_str(bare.normalizer.normalize_str(text)):
                inner.update(word[1:])
        pieces = [f"##{c}" for c, _ in sorted(inner.most_common(), key=lambda item: (-item[1], item[0]))]
        trainer = tokenizers.trainers.WordPieceTrainer(
            vocab_size=vocab_size, special_tokens=[*SPECIAL, *pieces[: vocab_size // 4]], show_progress=False
        )
        bare.train_from_iterator(texts, trainer)
        vocab = bare.get_vocab()
        settings |= {"tokenizer_class": "BertTokenizer", "unk_token": "[UNK]", "pad_token": "[PAD]"}
        beside = {
            SETTINGS_FILE: json.dumps(settings, indent=2).encode(),
            VOCAB_FILE: "".join(f"{word}\n" for word in sorted(vocab, key=vocab.__getitem__)).encode(),
        }
        return cls(_wordpiece(vocab, settings, "new tokenizer"), beside=beside)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, without the tokens around it.

        Raises:
          DataError: a text holds a lone surrogate, which is no Unicode.
        """
        try:
            return [found.ids for found in self._tokenizer.encode_batch(list(texts), add_special_tokens=False)]
        except (TypeError, UnicodeError) as error:
            raise DataError(f"text with a lone surrogate, which is no Unicode ({error})") from error

    def save(self, folder: PathLike) -> None:
        """Writes tokenizer.json, and what stood beside it."""
        folder = as_path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / TOKENIZER_FILE, self._tokenizer.to_str())
        for name, content in self._beside.items():
            write_atomic(folder / name, content)


def _wordpiece(vocab: dict[str, int], settings: dict[str, Any], where: object) -> Any:
    """BERT's tokenizer over this vocabulary, as transformers builds it from the same files."""
    if missing := [word for word in SPECIAL[1:4] if word not in vocab]:
        raise DataError(f"{where}: has no {missing[0]}; is it a vocabulary of BERT's?")
    made = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocab, unk_token="[UNK]"))
    made.normalizer = tokenizers.normalizers.BertNormalizer(
        handle_chinese_chars=settings.get("tokenize_chinese_chars", True),
        strip_accents=settings.get("strip_accents"),
        lowercase=settings.get("do_lower_case", True),
    )
    made.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    made.decoder = tokenizers.decoders.WordPiece()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[(word, vocab[word]) for word in ("[CLS]", "[SEP]")],
    )
    made.add_special_tokens([word for word in SPECIAL if word in vocab])
    return made
