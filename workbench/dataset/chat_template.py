"""The chat template of a model on this machine: the text of a conversation, and what of it is learnt.

Training, answering, counting and looking all ask here, so there is one truth: only what an assistant
says is learnt, its calls of tools too, up to and with the token that ends its turn; a turn of ``weight``
0 is read but not learnt.

What a template cannot write, or leaves out, is written for it as plain messages before it is asked:
tools in the system message, calls as JSON between ``<tool_call>`` tags (the convention of Hermes and
Qwen), results as a user's message. What a template can write is found out once for each model, never
for one conversation, and each message is rewritten by itself: so a conversation always begins with
the prompt that asked for its answer, in training, answering and the prefix cache alike.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast

from workbench import catalog
from workbench.catalog.models import base_name
from workbench.dataset.dataset import JSON, OUTPUTS, Example, Message, items_of, mapping_of
from workbench.errors import DataError, SetupError
from workbench.settings import home, models_in

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Wire: TypeAlias = dict[str, Any]  # a message or a tool as templates get it

CALL_BEFORE, CALL_AFTER = "<tool_call>\n", "\n</tool_call>"
CALL_OPENING = "<tool_call>"
_IMAGES = ("image_url", "input_image", "image")
_OFFER = (
    "You may call these functions:\n<tools>\n{tools}\n</tools>\n"
    "To call one, write JSON with its name and its arguments:\n"
    '<tool_call>\n{{"name": <name>, "arguments": <object>}}\n</tool_call>'
)


class Conversation(NamedTuple):
    """A conversation as the template writes it."""

    text: str
    learnt: tuple[tuple[int, int], ...]
    """The stretches to learn: first character, and the one behind the last."""

    def learns(self, offsets: Iterable[tuple[int, int]]) -> tuple[bool, ...]:
        """For each token, given as its stretch of the text, whether it is learnt."""
        return tuple(
            any(start <= begin and end <= stop for start, stop in self.learnt) for begin, end in offsets
        )


def written(
    tokenizer: "PreTrainedTokenizerFast", messages: Sequence[Message], tools: Sequence[JSON] = ()
) -> Conversation:
    """The conversation as the model reads it in training; ``DataError`` if it cannot be written.

    ``tools`` are those the model may call, as ``tools_in`` gives them.
    """
    turns, offered = _turns(tokenizer, messages, tools)
    wire = [message for _, message in turns]
    text = _render(tokenizer, wire, offered, answer_next=False)
    learnt = []
    for at, (index, message) in enumerate(turns):
        if message["role"] == "assistant" and message.get("weight", 1):
            prompt = _render(tokenizer, wire[:at], offered, answer_next=True)
            turn = _render(tokenizer, wire[: at + 1], offered, answer_next=False)
            begin = _alike(prompt, text)
            said = message["content"].strip()
            is_whole = bool(said) and text[begin:].lstrip().startswith(said)
            if begin < len(prompt) and not is_whole:
                raise DataError(
                    f"this model's chat template writes messages[{index}] otherwise than it asks for it, "
                    "so what to learn is not known; let the conversation end there."
                )
            end = _end_of_turn(tokenizer, text, begin, turn, message)
            if message.get("tool_calls") and said.rpartition("</think>")[2].strip() not in text[begin:end]:
                raise DataError(
                    f"this model's chat template leaves out what messages[{index}] says beside its "
                    "tool_calls; put it into a message of its own, or leave it out."
                )
            learnt.append((begin, end))
    return Conversation(text, tuple(learnt))


def prompt(
    tokenizer: "PreTrainedTokenizerFast", messages: Sequence[Message], tools: Sequence[JSON] = ()
) -> str:
    """The text that waits for the assistant's answer, up to its first word.

    Where the model's own template offers ``tools``, up to where it decides between a word and a call.
    ``DataError`` if it cannot be written.
    """
    text = as_text(tokenizer, messages, tools, answer_next=True)
    return text if tools and _manner(tokenizer).tools else text + opening(tokenizer)


def as_text(
    tokenizer: "PreTrainedTokenizerFast",
    messages: Sequence[Message],
    tools: Sequence[JSON] = (),
    *,
    answer_next: bool,
) -> str:
    """The messages in one text; with ``answer_next`` it ends where the assistant begins to speak."""
    turns, offered = _turns(tokenizer, messages, tools)
    return _render(tokenizer, [message for _, message in turns], offered, answer_next=answer_next)


def opening(tokenizer: "PreTrainedTokenizerFast") -> str:
    """What the template puts before an assistant's words that the model would otherwise have to say.

    A channel (gpt-oss) or an empty thought (Qwen 3): an answer that begins behind it comes at once.
    Nothing with most templates.
    """
    return _opening(tokenizer, str(tokenizer.chat_template))


@lru_cache(maxsize=16)
def _opening(tokenizer: "PreTrainedTokenizerFast", template: str) -> str:
    asked: Message = {"role": "user", "content": "?"}
    said = "Forty-two."
    text = as_text(tokenizer, (asked, {"role": "assistant", "content": said}), answer_next=False)
    prompt = as_text(tokenizer, (asked,), answer_next=True)
    before = text[len(prompt) : text.find(said)] if text.startswith(prompt) else ""
    return before if before.strip() else ""


def _end_of_turn(
    tokenizer: "PreTrainedTokenizerFast", text: str, begin: int, turn: str, message: Wire
) -> int:
    """Where the assistant's turn that begins at ``begin`` ends: behind the token that ends it.

    ``turn`` is the text up to and with that turn as if it were the last; templates may write more behind a
    last turn (Phi-3), or other tokens (gpt-oss).
    """
    said = message["content"].strip()
    if said and not message.get("tool_calls"):
        before = opening(tokenizer)
        found = text.find(said, begin + len(before) * text.startswith(before, begin))
        if found >= 0:
            end = found + len(said)
            closed = _added_token(tokenizer, len(tokenizer)).match(text, end)
            return closed.end() if closed else end
    # Line breaks after the end-of-turn token belong to the template, not to the answer.
    return len(text[: _alike(turn, text)].rstrip())


def _alike(one: str, other: str) -> int:
    """How many characters both texts begin with."""
    if other.startswith(one):
        return len(one)
    return next(n for n, (a, b) in enumerate(zip(f"{one}\0", f"{other}\1", strict=False)) if a != b)


@lru_cache(maxsize=16)
def _added_token(tokenizer: "PreTrainedTokenizerFast", size: int) -> re.Pattern[str]:
    """Matches one token that is no piece of ordinary text, and the blanks before it."""
    tokens = sorted((str(token) for token in tokenizer.added_tokens_decoder.values()), key=len, reverse=True)
    return re.compile(rf"\s*(?:{'|'.join(map(re.escape, tokens))})" if tokens else r"(?!)")


def folder_of(model: str) -> Path:
    """Where the tokenizer of a model on this machine lies, or would lie."""
    return models_in(home()) / base_name(model)


def is_here(model: str) -> bool:
    """Whether this machine has the model's own tokenizer."""
    return (folder_of(model) / "tokenizer.json").is_file()


def tokenizer_of(model: str) -> "PreTrainedTokenizerFast":
    """The model's own tokenizer; ``SetupError`` says how to get one that is not on this machine."""
    if is_here(model):
        return _load(folder_of(model))
    if catalog.runs_here(catalog.model(model).service):
        way = "the local service makes it when it first trains or asks this model"
    else:
        way = "put its tokenizer.json, tokenizer_config.json and config.json there"
    raise SetupError(f"The tokenizer of {model} is not on this machine ({folder_of(model)}): {way}.")


def context_of(model: str) -> int | None:
    """How many tokens the model reads at most; ``None`` where its folder does not say."""
    config = folder_of(model) / "config.json"
    if not config.is_file():
        return None
    tokens = json.loads(config.read_text(encoding="utf-8")).get("max_position_embeddings")
    return tokens if isinstance(tokens, int) else None


@cache
def _load(folder: Path) -> "PreTrainedTokenizerFast":
    from tqdm.auto import tqdm

    # It takes some seconds, and nothing is known of how far it is.
    with tqdm(total=2, desc="Loading the model's template", leave=False, bar_format="{desc} …") as steps:
        files = [folder / name for name in ("config.json", "tokenizer_config.json")]
        model, own = (json.loads(each.read_text("utf-8")) if each.is_file() else {} for each in files)
        # What AutoTokenizer gives for such a model, the built-in ones among them; it would load torch too.
        if (model.get("model_type"), own.get("tokenizer_class")) == ("llama", "PreTrainedTokenizerFast"):
            from transformers import PreTrainedTokenizerFast

            load: Any = PreTrainedTokenizerFast.from_pretrained
        else:
            from transformers import AutoTokenizer

            load = AutoTokenizer.from_pretrained
        steps.update()
        loaded = cast("PreTrainedTokenizerFast", load(folder, local_files_only=True))
        steps.update()  # else the bar stays, red as after an error
        return loaded


# What a template can write, and what is written for it


class _Manner(NamedTuple):
    """What a model's own template writes without leaving something out."""

    tools: bool
    """Tools, calls and their results."""
    system: bool
    repeats: bool
    """Two messages of the user, one after the other."""
    names: bool
    """Who of several users speaks."""


def tools_in(line: Mapping[str, JSON]) -> tuple[JSON, ...]:
    """The tools of a line of a training file, or of ``Example.more``; the old ``functions`` as tools too."""
    old = ({"type": "function", "function": function} for function in items_of(line.get("functions")))
    return tuple(items_of(line.get("tools")) or old)


def marks_calls(tokenizer: "PreTrainedTokenizerFast") -> bool:
    """Whether the model's calls stand between ``<tool_call>`` tags, by its own template or by ours."""
    return not _manner(tokenizer).tools or CALL_OPENING in str(tokenizer.chat_template)


def _manner(tokenizer: "PreTrainedTokenizerFast") -> _Manner:
    return _manner_of(tokenizer, str(tokenizer.chat_template))


@lru_cache(maxsize=16)
def _manner_of(tokenizer: "PreTrainedTokenizerFast", template: str) -> _Manner:
    """Found by words that stand nowhere else: a template may raise, or leave them out in silence."""

    def text(*messages: Wire, tools: Sequence[Wire] = (), answer_next: bool = False) -> str:
        try:
            return _render(tokenizer, list(messages), list(tools), answer_next=answer_next)
        except DataError:
            return ""

    def shows(text: str, *words: str) -> bool:
        return all(word in text for word in words)

    asks, says = {"role": "user", "content": "qzask"}, {"role": "assistant", "content": "qzsay"}
    system = {"role": "system", "content": "qzsystem"}
    schema = {"type": "object", "properties": {"qzplace": {"type": "string"}}}
    function = {"name": "qztool", "description": "qzabout", "parameters": schema}
    called = {"name": "qzcalled", "arguments": {"qzkey": "qzvalue"}}
    calls = {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": "call00001", "type": "function", "function": called}],
    }
    result = {"role": "tool", "content": "qzresult", "tool_call_id": "call00001", "name": "qzcalled"}
    offer = text(asks, tools=[{"type": "function", "function": function}], answer_next=True)
    return _Manner(
        tools=shows(offer, "qztool", "qzabout", "qzplace")
        and shows(text(asks, calls, result, says), "qzcalled", "qzkey", "qzvalue", "qzresult")
        and text(asks, calls).startswith(text(asks, answer_next=True)),
        system=shows(text(system, asks, says), "qzsystem"),
        repeats=shows(text({**asks, "content": "qzfirst"}, asks, says), "qzfirst"),
        names=shows(text({**asks, "name": "qzname"}, says), "qzname"),
    )


def _render(
    tokenizer: "PreTrainedTokenizerFast", messages: list[Wire], tools: list[Wire], *, answer_next: bool
) -> str:
    from jinja2 import TemplateError

    wire = [{key: value for key, value in message.items() if key != "weight"} for message in messages]
    try:
        text = str(
            tokenizer.apply_chat_template(
                wire, tools=[*tools] or None, tokenize=False, add_generation_prompt=answer_next
            )
        )
        text.encode()  # half a surrogate pair has no tokens
    except (
        TemplateError,
        TypeError,
        ValueError,
        LookupError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ) as error:
        # A template is code of the model's makers: it adds and divides whatever it is given.
        raise _unwritable(error) from None
    return text


def _unwritable(why: object) -> DataError:
    return DataError(
        f"this model's chat template cannot write the conversation ({why}); "
        "use a role and a text in every message."
    )


def _turns(
    tokenizer: "PreTrainedTokenizerFast", messages: Sequence[Message], tools: Sequence[JSON]
) -> tuple[list[tuple[int, Wire]], list[Wire]]:
    """The messages, each with its index, and the tools as the model's template can write them."""
    manner = _manner(tokenizer)
    turns = list(enumerate(_usual(messages)))
    offered = [_tool(tool, index) for index, tool in enumerate(tools)]
    if not manner.tools:
        turns = _without_tools(turns)
        if offered:
            offer = _OFFER.format(tools="\n".join(map(_json, offered)))
            before = turns.pop(0)[1]["content"] if turns and turns[0][1]["role"] == "system" else ""
            whole = f"{before}\n\n{offer}" if before else offer
            turns.insert(0, (0, {"role": "system", "content": whole}))
        offered = []
    for _, message in turns:
        if message.get("name") and message["role"] in ("user", "system") and not manner.names:
            message["content"] = f"{message.pop('name')}: {message['content']}"
        if message["role"] == "system" and not manner.system:
            message["role"] = "user"
    return (turns if manner.repeats else _merged(turns, "\n\n")), offered


def _usual(messages: Sequence[Message]) -> list[Wire]:
    """Fresh messages in today's form: each with a text, calls with objects and ids by their number."""
    usual: list[Wire] = []
    ids: dict[JSON, tuple[str, str]] = {}  # of a call -> its new id and its function
    made = 0
    for index, message in enumerate(messages):
        place = f"messages[{index}]"
        role = message.get("role")
        if not isinstance(role, str):
            raise _unwritable(f"{place} has no role")
        new: Wire = {key: value for key, value in message.items() if key not in ("refusal", "function_call")}
        new["role"] = {"developer": "system", "function": "tool"}.get(role, role)
        said, refusal = _text(message, place), message.get("refusal")
        new["content"] = "\n".join(filter(None, (said, refusal))) if isinstance(refusal, str) else said or ""
        calls = _calls(message, place)
        if said is None and not calls and not refusal and new["role"] != "tool":
            raise _unwritable(f"{place} has no text")
        new.pop("tool_calls", None)
        if calls:
            numbered = [(f"call{number:05}", call) for number, call in enumerate(calls, made + 1)]
            made += len(calls)
            ids |= {call["id"]: (new_id, call["function"]["name"]) for new_id, call in numbered}
            new["tool_calls"] = [call | {"id": new_id} for new_id, call in numbered]
        if new["role"] == "tool":
            asked = message.get("name") if role == "function" else message.get("tool_call_id")
            new["tool_call_id"], new["name"] = ids.get(asked, (str(asked), str(message.get("name") or "")))
        elif new["role"] == "assistant" or not new.get("name"):
            new.pop("name", None)  # an answer begins with no name
        usual.append(new)
    return usual


def _text(message: Message, place: str) -> str | None:
    """The text of a message; of a list of parts, joined as they are."""
    content = message.get("content")
    if content is None or isinstance(content, str):
        return content
    texts = []
    for part in content if isinstance(content, list | tuple) else (content,):
        kind = mapping_of(part).get("type")
        if kind in _IMAGES:
            raise DataError(
                f"{place} has an image, and this model reads text only; leave the image out, or take a "
                "service whose model sees."
            )
        text = mapping_of(part).get(kind) if kind in ("text", "refusal") else None
        if not isinstance(text, str):
            raise _unwritable(f"{place}.content is neither a text nor a list of text parts")
        texts.append(text)
    return "".join(texts)


def _calls(message: Message, place: str) -> list[Wire]:
    calls, old = message.get("tool_calls"), message.get("function_call")
    if not calls and isinstance(old, Mapping):  # its result names the function, no id
        calls, place = [{"id": old.get("name"), "function": old}], f"{place}.function_call"
    read = []
    for call in map(mapping_of, items_of(calls)):
        function = mapping_of(call.get("function"))
        name = function.get("name")
        if not isinstance(name, str):
            raise _unwritable(f"a call in {place} has no function with a name")
        called = {"name": name, "arguments": _object(function.get("arguments"))}
        read.append({"id": call.get("id"), "type": "function", "function": called})
    return read


def _object(arguments: JSON) -> JSON:
    """Arguments as templates print them; the API has them as text. What is no JSON stays the text it is."""
    if not isinstance(arguments, str):
        return {} if arguments is None else arguments
    try:
        read: JSON = json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments
    return arguments if isinstance(read, str) else read


def _tool(tool: JSON, index: int) -> Wire:
    """What a model has to know of a tool, the same whoever sends it."""
    function = mapping_of(mapping_of(tool).get("function"))
    if not isinstance(function.get("name"), str):
        raise _unwritable(f"tools[{index}] is no function with a name")
    known = {key: function.get(key) for key in ("name", "description", "parameters")}
    return {"type": "function", "function": {key: part for key, part in known.items() if part is not None}}


def _without_tools(turns: Sequence[tuple[int, Wire]]) -> list[tuple[int, Wire]]:
    """Calls as the assistant's text, and results as the user's, in the order of their calls."""
    plain: list[tuple[int, Wire]] = []
    results: list[tuple[int, Wire]] = []
    for index, message in (*turns, (len(turns), {"role": ""})):
        if message["role"] == "tool":
            results.append((index, message))
            continue
        results.sort(key=lambda result: str(result[1]["tool_call_id"]))
        plain += _merged(
            [
                (at, {"role": "user", "content": f"<tool_response>\n{said['content']}\n</tool_response>"})
                for at, said in results
            ],
            "\n",
        )
        results = []
        calls = message.pop("tool_calls", ())
        if calls:
            written = [f"{CALL_BEFORE}{_json(call['function'])}{CALL_AFTER}" for call in calls]
            message["content"] = "\n".join(filter(None, (message["content"].strip(), *written)))
        plain.append((index, message))
    return plain[:-1]


def _merged(turns: Sequence[tuple[int, Wire]], between: str) -> list[tuple[int, Wire]]:
    """Messages of the user that follow each other as one."""
    merged: list[tuple[int, Wire]] = []
    for index, message in turns:
        if message["role"] == "user" and merged and merged[-1][1]["role"] == "user":
            merged[-1][1]["content"] += between + message["content"]
        else:
            merged.append((index, message))
    return merged


def _json(value: object) -> str:
    """As the templates of Hermes and Qwen print it, with a blank behind commas and colons."""
    return json.dumps(value, ensure_ascii=False, default=dict)


def both_answers(example: Example) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
    """A preference's prompt with the preferred answer, and with the rejected one; only answers are learnt."""
    prompt = tuple(
        {**message, "weight": 0} if message.get("role") == "assistant" else message
        for message in example.messages
    )
    preferred, rejected = ((*prompt, *_weightless(example.more.get(key))) for key in OUTPUTS)
    return preferred, rejected


def _weightless(answer: JSON) -> Iterator[Message]:
    for message in map(mapping_of, items_of(answer)):
        yield {name: content for name, content in message.items() if name != "weight"}
