"""Fine-tuning against `transformers` itself: its loss with labels of -100 on the prompt, its chat templates' text."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maxlm.blocks.format import PADDING_DOMAIN, Rows, to_batch
from maxlm.interop.decoder import FolderModel
from maxlm.models.decoder import DecoderFunction
from maxlm.tokenizer.chat import CHATML, ChatTemplate
from maxlm.tokenizer.settings import TokenizerSettings
from maxlm.tokenizer.train import train
from maxlm.train.config import TrainSettings
from maxlm.train.step import batch_loss
from tests import texts
from tests.maxlm.tokenizer.test_chat import ALTERNATE, CHAT, MARKED, TRIMMED

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'maxlm[reference]'")
transformers = pytest.importorskip("transformers", reason="transformers is not installed: the reference extra has it")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    settings = TokenizerSettings("bytelevel", 512, 8)
    ours = train((text for _, text in texts.corpus(documents=40)), folder, settings)
    return ours, transformers.AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("source", [CHATML, MARKED, TRIMMED, ALTERNATE])
@pytest.mark.parametrize("prompt", [False, True])
def test_templates_write_the_same(tokenizer, source, prompt):
    ours, theirs = tokenizer
    chat = CHAT[1:-1] if prompt else CHAT[1:]
    expected = theirs.apply_chat_template(chat, chat_template=source, tokenize=False, add_generation_prompt=prompt)
    assert ChatTemplate(source, ours).render(chat, prompt=prompt) == expected


@pytest.mark.parametrize("source", [CHATML, TRIMMED])
def test_tokens_are_the_same(tokenizer, source):
    """But for where an answer begins: we cut there, as happens when the model writes."""
    ours, theirs = tokenizer
    found = ChatTemplate(source, ours).encode(CHAT)
    text = theirs.apply_chat_template(CHAT, chat_template=source, tokenize=False)
    expected = theirs(text, add_special_tokens=False, split_special_tokens=False)["input_ids"]
    assert ours.decode(found.ids) == ours.decode(expected)
    special = set(ours.special.values())
    assert [i for i in found.ids.tolist() if i in special] == [i for i in expected if i in special]


def test_the_marks_of_generation_are_theirs(tokenizer):
    ours, theirs = tokenizer
    found = ChatTemplate(MARKED, ours).encode(CHAT)
    expected = theirs.apply_chat_template(
        CHAT, chat_template=MARKED, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    learnt = [i for i, mask in zip(expected["input_ids"], expected["assistant_masks"], strict=True) if mask]
    assert ours.decode(found.ids[found.learn]) == ours.decode(learnt)


def test_the_loss_of_completions(tokenizer, tmp_path):
    """Conversations packed into rows, against each by itself with labels of -100 on what is not learnt."""
    ours, _ = tokenizer
    config = transformers.LlamaConfig(
        vocab_size=512, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=48, max_position_embeddings=256, initializer_range=0.3, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    torch.manual_seed(0)
    reference = transformers.LlamaForCausalLM(config).eval()
    reference.save_pretrained(tmp_path)
    template = ChatTemplate(CHATML, ours)
    chats = [template.encode(CHAT), template.encode(CHAT[1:3]), template.encode(CHAT[3:])]
    places = 1 + max(len(chats[0].ids), len(chats[1].ids) + len(chats[2].ids))
    rows = Rows(*(np.zeros((2, places), kind) for kind in (int, bool, bool, np.uint8)))
    rows.domains[:] = PADDING_DOMAIN
    rows.starts[:, 0] = True
    total, count = 0.0, 0
    for chat, row, begin in zip(chats, (0, 1, 1), (0, 0, len(chats[1].ids)), strict=True):
        where = slice(begin, begin + len(chat.ids))
        rows.tokens[row, where], rows.learn[row, where], rows.domains[row, where] = chat.ids, chat.learn, 0
        rows.starts[row, begin] = True
        labels = torch.tensor(np.where(chat.learn, chat.ids, -100))[None].long()
        with torch.no_grad():
            loss = reference(torch.tensor(chat.ids)[None].long(), labels=labels).loss
        total, count = total + float(loss) * int(chat.learn.sum()), count + int(chat.learn.sum())
    folder = FolderModel(tmp_path)
    model = DecoderFunction(folder.config)
    params = _params(folder, model)
    found = batch_loss(model, params, to_batch(rows), TrainSettings())
    assert int(to_batch(rows).weights.sum()) == count > 10
    np.testing.assert_allclose(found.loss, total / count, rtol=1e-5)


def _params(folder, model):
    def read(path, leaf):
        names = tuple(part.key for part in path)
        if names[0] != "layers":
            return jnp.asarray(folder.read(names, None))
        return jnp.stack([jnp.asarray(folder.read(names, layer)) for layer in range(leaf.shape[0])])

    return jax.tree_util.tree_map_with_path(read, model.abstract_params())
