"""SentencePiece's model file as data: reading it, taking pieces out, adding pieces at its end.

The message is declared here, as far as it is needed; protobuf carries all other fields along. The package's own module
for it works with one version of protobuf only, another for each release.
"""

from collections.abc import Collection, Sequence
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

from maxlm.errors import DataError
from maxlm.tokenizer import bpe

# SentencePiece writes a space as U+2581. A U+2581 of the text itself would come back as a space.
SPACE_MARK = "\u2581"
# ModelProto.SentencePiece.Type and TrainerSpec.ModelType of sentencepiece_model.proto
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
_BPE = 2
_Field = descriptor_pb2.FieldDescriptorProto
_FLOAT, _BOOL, _STRING, _BYTES = _Field.TYPE_FLOAT, _Field.TYPE_BOOL, _Field.TYPE_STRING, _Field.TYPE_BYTES
_INT = _Field.TYPE_INT32  # enums too read as such
# message -> field -> (number, type or message, default), of src/sentencepiece_model.proto
_MESSAGES: dict[str, dict[str, tuple[int, Any, Any]]] = {
    "Piece": {"piece": (1, _STRING, ""), "score": (2, _FLOAT, "0"), "type": (3, _INT, "1")},
    "Trainer": {
        "model_type": (3, _INT, "1"),
        "vocab_size": (4, _INT, "8000"),
        "treat_whitespace_as_suffix": (24, _BOOL, "false"),
        "byte_fallback": (35, _BOOL, "false"),
    },
    "Normalizer": {
        "precompiled_charsmap": (2, _BYTES, ""),
        "add_dummy_prefix": (3, _BOOL, "true"),
        "remove_extra_whitespaces": (4, _BOOL, "true"),
        "escape_whitespaces": (5, _BOOL, "true"),
    },
    "Model": {
        "pieces": (1, "Piece", None),
        "trainer_spec": (2, "Trainer", None),
        "normalizer_spec": (3, "Normalizer", None),
    },
}


def _message_class() -> type[Message]:
    file = descriptor_pb2.FileDescriptorProto(name="maxlm/tokenizer/spm.proto", package="maxlm.spm", syntax="proto2")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for key, (number, kind, default) in fields.items():
            field = message.field.add(
                name=key, number=number, label=_Field.LABEL_REPEATED if key == "pieces" else _Field.LABEL_OPTIONAL
            )
            if isinstance(kind, str):
                field.type, field.type_name = _Field.TYPE_MESSAGE, f".maxlm.spm.{kind}"
            else:
                field.type, field.default_value = kind, default
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("maxlm.spm.Model"))


_ModelProto: Any = _message_class()


class Model:
    """A BPE model's pieces and merges.

    Attributes:
      pieces: (string, type) by id, spaces as U+2581.
    """

    def __init__(self, raw: bytes, where: object = "tokenizer"):
        """Raises DataError where the bytes are no model."""
        self._proto = _ModelProto()
        try:
            self._proto.ParseFromString(raw)
        except DecodeError as error:
            raise DataError(f"{where}: damaged, or no SentencePiece model ({error})") from error
        self.pieces: list[tuple[str, int]] = [(piece.piece, piece.type) for piece in self._proto.pieces]

    def of_type(self, kind: int) -> list[str]:
        """The pieces of one type, by id."""
        return [piece for piece, its in self.pieces if its == kind]

    def is_plain(self) -> bool:
        """Whether it is BPE over the text as it stands: nothing normalised, added or taken away, no unused pieces.

        And whether it has the control pieces of a document (begin, end, padding) and one for the unknown.
        """
        spec, trainer = self._proto.normalizer_spec, self._proto.trainer_spec
        changes = spec.precompiled_charsmap or spec.add_dummy_prefix or spec.remove_extra_whitespaces
        odd = trainer.model_type != _BPE or trainer.treat_whitespace_as_suffix or not trainer.byte_fallback
        lacks = len(self.of_type(CONTROL)) < 3 or not self.of_type(UNKNOWN)
        return not (changes or odd or lacks or not spec.escape_whitespaces or self.of_type(UNUSED))

    def rank(self) -> bpe.Rank:
        """The ranks of merges: SentencePiece takes the best score first."""
        normal = [piece for piece in self._proto.pieces if piece.type == NORMAL]
        ordered = sorted(normal, key=lambda piece: -piece.score)
        return bpe.by_string({piece.piece: i for i, piece in enumerate(ordered)})

    def merges(self) -> list[bpe.Merge]:
        """One merge for each piece of several characters that can be produced, in the order of their ranks."""
        rank = self.rank()
        found = bpe.merges_of(self.of_type(NORMAL), rank).values()
        return sorted(found, key=lambda merge: rank(*merge) or 0)

    def without(self, unwanted: Collection[str], num_pieces: int) -> bytes:
        """The model without some pieces and without what they leave unreachable, cut to `num_pieces` or fewer.

        Of the merges the first stay; single characters, bytes and what is no BPE all stay.
        """
        stays = [p for p in self._proto.pieces if not (p.type == NORMAL and p.piece in unwanted)]
        ordered = sorted((p for p in stays if p.type == NORMAL), key=lambda piece: -piece.score)
        rank = bpe.by_string({piece.piece: i for i, piece in enumerate(ordered)})
        merged = bpe.merges_of([p.piece for p in ordered if len(p.piece) > 1], rank)
        head = [p for p in stays if p.type != NORMAL]
        singles = [p for p in ordered if len(p.piece) == 1]
        room = max(0, num_pieces - len(head) - len(singles))
        body = [*[p for p in ordered if p.piece in merged][:room], *singles]
        made = self._copy()
        del made.pieces[:]
        made.pieces.extend(head)
        for i, piece in enumerate(body):
            made.pieces.add(piece=piece.piece, score=-i, type=NORMAL)
        made.trainer_spec.vocab_size = len(made.pieces)
        return made.SerializeToString(deterministic=True)

    def extended(self, merge: Sequence[str] = (), always: Sequence[str] = (), special: Sequence[str] = ()) -> bytes:
        """The model with pieces behind all others: made by merges that rank last, matched in any text, or control."""
        made = self._copy()
        last = min((piece.score for piece in made.pieces if piece.type == NORMAL), default=0)
        for i, piece in enumerate(merge, start=1):
            made.pieces.add(piece=piece, score=last - i, type=NORMAL)
        for kind, pieces in ((USER_DEFINED, always), (CONTROL, special)):
            for piece in pieces:
                made.pieces.add(piece=piece, score=0, type=kind)
        made.trainer_spec.vocab_size = len(made.pieces)
        return made.SerializeToString(deterministic=True)

    def _copy(self):
        made = _ModelProto()
        made.CopyFrom(self._proto)
        return made
