"""A tuned model leaves the building: as a Hugging Face folder, a GGUF file for Ollama, or the adapter alone.

The local service keeps what it trained as an adapter beside its base. Here both become files that other
programs load, with the commands to do so and a card that says where the model comes from; and what they
answer is compared with what the service answered. Weights of a cloud's models stay in the cloud.
Apart because no step of the journey needs it: it leads out.
"""

import json
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, get_args

import yaml

from workbench import jsonl_log
from workbench.catalog.providers import provider_of
from workbench.dataset.dataset import JSON
from workbench.display import Shown, Table
from workbench.errors import DataError, SetupError, did_you_mean
from workbench.project import SUPERVISED, Project
from workbench.settings import VERSION, home, models_in

if TYPE_CHECKING:
    from openai import OpenAI

    from workbench.evaluation.evaluation import Evaluation

Form: TypeAlias = Literal["hf", "gguf", "adapter"]
FORMS: tuple[Form, ...] = get_args(Form)
Weights: TypeAlias = Literal["f32", "f16", "bf16", "q8_0"]
WEIGHTS: tuple[Weights, ...] = get_args(Weights)
GGUF = "model.gguf"
ON_THE_HUB = {"SmolLM2-135M-Instruct": ("HuggingFaceTB/SmolLM2-135M-Instruct", "apache-2.0")}
"""The built-in base models by their ids on Hugging Face's hub, with their licences."""


@dataclass(frozen=True, repr=False)
class SameAnswers:
    """Whether the exported model answers as the service did, to the same questions and prompt."""

    questions: int
    different: tuple[tuple[str, str, str], ...]  # the question, the service's answer, the exported model's

    @property
    def same(self) -> int:
        """How many answers are equal, letter for letter but for blanks at their ends."""
        return self.questions - len(self.different)


@dataclass(frozen=True, repr=False)
class Exported(Shown):
    """Where an exported model is, how it is used, and whether it answers as the service did."""

    model: str
    folder: Path
    to: Form
    size: int  # bytes
    commands: Mapping[str, str]  # what each is for, and the command
    parity: SameAnswers | None  # None: not asked
    note: str = ""

    @property
    def verdict(self) -> str:
        """Where it is, how large, and how many answers are the same."""
        where = f"{self.model} is in {self.folder} ({self.size / 1e6:,.0f} MB)"
        if self.parity is None:
            return f"{where}; its answers were not compared.{self.note}"
        found = self.parity
        return f"{where}; {found.same} of {found.questions} answers are the service's.{self.note}"

    @property
    def facts(self) -> dict[str, JSON]:
        """All of it as JSON."""
        compared: JSON = None
        if self.parity is not None:
            names = ("question", "service", "exported")
            different = [dict(zip(names, each, strict=True)) for each in self.parity.different]
            compared = {"questions": self.parity.questions, "same": self.parity.same, "different": different}
        return {
            "model": self.model,
            "folder": str(self.folder),
            "to": self.to,
            "bytes": self.size,
            "commands": dict(self.commands),
            "parity": compared,
            "note": self.note.strip(),
        }

    def tables(self) -> Iterator[Table]:
        """How it is used, and where its answers differ."""
        yield self.verdict, ("to", "command"), self.commands.items()
        if self.parity is not None:
            columns = ("question", "the service", "the exported model")
            yield "Where they differ", columns, self.parity.different[:10]


def export_model(
    client: "OpenAI",
    folder: str | Path,
    model: str | None = None,
    *,
    project: Project | None = None,
    to: Form = "hf",
    weights: Weights = "f16",
    compare: int | None = 20,
) -> Exported:
    """Write a tuned model of the local service to ``folder``, a new one, so that other programs load it.

    ``model``: a tuned model or a checkpoint; ``None`` is the one that ``project`` judged, else trained last.
    ``to``: "hf", base and adapter added up in a Hugging Face folder, for transformers and vLLM; "gguf", the
    same in one file with a Modelfile, for llama.cpp and Ollama; "adapter", the LoRA adapter in PEFT's format.
    ``weights``: their type in the first two, q8_0 only as GGUF. ``compare``: so many of the answers that
    06_evaluate got from this model are asked again, in transformers; 0 asks none, ``None`` all.

    Nothing is there after an error. Raises ``SetupError`` for another provider's model, one that is not
    there, a base that cannot be written so, and a disk that refuses; ``DataError`` for a folder that has
    something in it.
    """
    if to not in FORMS or weights not in WEIGHTS:
        raise DataError(f"A model is exported to {', '.join(FORMS)}, with weights {', '.join(WEIGHTS)}.")
    if to == "hf" and weights == "q8_0":
        raise DataError("q8_0 is a type of GGUF files; take f16, bf16 or f32 for a Hugging Face folder.")
    where = provider_of(client)
    if not where.runs_here:
        raise SetupError(
            f"{where.name} keeps the weights of the models it tunes, so they cannot be exported. What can "
            "leave is the training data (03_data): train an open-weight base with it on the local service."
        )
    out = Path(folder).expanduser().resolve()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} is there and not empty; name a new folder, so that nothing is lost.")
    tuned = _tuned(model or _newest(client, project))
    with _whole(out) as fresh:
        note = _write(tuned, fresh, to, weights)
        then = None if project is None else _judged(project, tuned.name)
        same = None
        if project is not None and then is not None and compare != 0 and to != "adapter":
            same = _compared(project, then, fresh, to, compare)
        commands = _commands(tuned, out, to)
        (fresh / "README.md").write_text(_card(tuned, project, commands, same), encoding="utf-8")
    size = sum(file.stat().st_size for file in out.iterdir())
    done = Exported(tuned.name, out, to, size, commands, same, note)
    if project is not None:
        project.record("export", **done.facts)
    return done


class _Tuned(NamedTuple):
    """A tuned model of the local service, and its two parts on disk."""

    name: str
    base: str
    adapter: Path

    @property
    def base_folder(self) -> Path:
        from workbench.local.models.bases import base_folder

        return base_folder(self.base, models_in(home()))

    @property
    def short_name(self) -> str:
        """For programs that take no dots and colons: ``smollm2-135m-instruct-ft-125ff110``."""
        base, _, rest = self.name.partition(".ft-")
        step = rest.partition(":ckpt-")[2]
        return "-".join(filter(None, (base.rpartition("/")[2].lower(), "ft", rest[:8], step)))


def _newest(client: "OpenAI", project: Project | None) -> str:
    if project is None:
        raise DataError("Name the model to export, or the project that trained it.")
    from workbench.evaluation.records import trained_model

    judged = project.latest("comparison")
    return str(judged.facts["tuned_model"]) if judged else trained_model(client, project).model


def _tuned(name: str) -> _Tuned:
    """The adapter of this name; each lies beside a note of the service that says what it is."""
    known = {}
    for file in sorted((home() / "service" / "adapters").glob("*/*/checkpoint.json")):
        note = json.loads(file.read_text(encoding="utf-8"))
        known[note["model"]] = _Tuned(note["model"], note["base_model"], file.parent)
    if name not in known:
        there = "; it has " + ", ".join(known) if known else "; it has none yet, train one in 04_launch"
        raise SetupError(f"The local service has no tuned model {name}{there}.{did_you_mean(name, known)}")
    return known[name]


@contextmanager
def _whole(out: Path) -> Iterator[Path]:
    """A folder beside ``out`` that becomes ``out`` when all is written, and goes when anything fails."""
    with jsonl_log.writing(out):
        fresh = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}-"))
        try:
            yield fresh
            fresh.chmod(0o755)
            fresh.replace(out)  # over an empty folder, too
        finally:
            shutil.rmtree(fresh, ignore_errors=True)


def _write(tuned: _Tuned, folder: Path, to: Form, weights: Weights) -> str:
    """The files of the model; what could not be said in them comes back as a sentence."""
    if to == "adapter":
        for name in ("adapter_model.safetensors", "adapter_config.json"):
            shutil.copyfile(tuned.adapter / name, folder / name)
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        config["base_model_name_or_path"] = _hub(tuned.base)[0]
        (folder / "adapter_config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
        return ""
    from workbench.local.models import merged

    base = tuned.base_folder
    if to == "gguf" and (why := merged.why_not_gguf(base)):
        raise SetupError(
            f"{tuned.base} cannot be written as GGUF here: {why}. Export it to hf, and convert that folder "
            "with llama.cpp's convert_hf_to_gguf.py."
        )
    model = merged.merged(tuned.base, base, tuned.adapter)
    if to == "hf":
        merged.write_folder(model, base, folder, weights)
        return ""
    merged.write_gguf(model, base, folder / GGUF, tuned.short_name, weights)
    pieces = merged.turns(base)
    (folder / "Modelfile").write_text(merged.modelfile(pieces, GGUF), encoding="utf-8")
    if pieces is None:
        return " Its chat template has conditions that a Modelfile was not given; Ollama will look for one."
    return ""


def _judged(project: Project, model: str) -> "Evaluation | None":
    """The answers that 06_evaluate got from this very model, or ``None``."""
    from workbench.evaluation.evaluation import Evaluation

    judged = project.latest("comparison")
    if judged is None or judged.facts.get("tuned_model") != model:
        return None
    return Evaluation.load(project.path / str(judged.facts["tuned_evaluation"]))


def _compared(project: Project, then: "Evaluation", folder: Path, to: Form, first: int | None) -> SameAnswers:
    """The same questions with the same prompt, answered by the exported files alone."""
    from workbench.evaluation.evaluate import questions
    from workbench.local.models import merged

    said = {item.id: item.answer for item in then.items}
    test = project.task.read_test()
    named = zip(test, questions(test), strict=True)
    asked = [(example, said[item.id]) for example, item in named if item.id in said][:first]
    chats = [then.prompt.messages(example) for example, _ in asked]
    gguf = GGUF if to == "gguf" else None
    answers = merged.answers(folder, chats, gguf=gguf, longest=then.max_tokens)
    pairs = [(example.question, old, new) for (example, old), new in zip(asked, answers, strict=True)]
    different = tuple(pair for pair in pairs if pair[1].strip() != pair[2].strip())
    return SameAnswers(len(pairs), different)


def _hub(base: str) -> tuple[str, str | None]:
    """A base model's id on the hub, where it is known, and its licence."""
    return ON_THE_HUB.get(base, (base, None))


def _commands(tuned: _Tuned, folder: Path, to: Form) -> dict[str, str]:
    """How other programs load it; the paths are quoted for a shell."""
    name, where = tuned.short_name, shlex.quote(str(folder))
    if to == "gguf":
        file = shlex.quote(str(folder / GGUF))
        return {
            "make a model of Ollama's": f"cd {where} && ollama create {name} -f Modelfile",
            "ask it": f"ollama run {name}",
            "serve it with llama.cpp": f"llama-server -m {file} --jinja",
        }
    if to == "adapter":
        base = _hub(tuned.base)[0] if tuned.base in ON_THE_HUB else str(tuned.base_folder)
        return {
            "serve it with vLLM": (
                f"vllm serve {shlex.quote(base)} --enable-lora --lora-modules {name}={where}"
            ),
            "load it in Python": (
                f"PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained({base!r}), {str(folder)!r})"
            ),
        }
    return {
        "serve it with vLLM": f"vllm serve {where} --served-model-name {name}",
        "load it in Python": f"AutoModelForCausalLM.from_pretrained({str(folder)!r})",
    }


def _card(
    tuned: _Tuned, project: Project | None, commands: Mapping[str, str], same: SameAnswers | None
) -> str:
    """The model card: where it comes from, how good it is, and how it is used."""
    base, licence = _hub(tuned.base)
    head = {"base_model": base, "license": licence or "other", "tags": ["fine-tuned", "lora"]}
    lines = [f"# {tuned.short_name}", "", f"{base}, fine-tuned ({tuned.name})."]
    facts = {} if project is None else _origin(project, tuned.name)
    lines += ["", *(f"- {name}: {value}" for name, value in facts.items() if value not in (None, ""))]
    if same is not None:
        lines.append(
            f"- answers equal to those of the service that trained it: {same.same} of {same.questions}"
        )
    lines.append(f"- exported by: Fine-Tuning Workbench {VERSION}")
    if licence is None:
        lines += ["", f"Its licence is that of {base}, which was not known here; see there."]
    lines += ["", "## Use it"]
    for what, command in commands.items():
        lines += ["", f"To {what}:", "", f"    {command}"]
    return f"---\n{yaml.safe_dump(head, sort_keys=False)}---\n\n" + "\n".join(lines) + "\n"


def _origin(project: Project, model: str) -> dict[str, object]:
    """From the record: data, job, scores and release check, as far as they are of this model."""
    jobs = [entry.facts for entry in project.entries("job") if str(entry.facts["job_id"])[6:] in model]
    job: Mapping[str, JSON] = jobs[-1] if jobs else {}
    judged = project.latest("comparison")
    found = judged.facts if judged and judged.facts.get("tuned_model") == model else {}
    gate = found.get("gate")
    return {
        "training data": f"sha256 {job['training_sha256']}" if job else None,
        "job": job.get("job_id"),
        "method": job.get("method", SUPERVISED) if job else None,
        "seed": job.get("seed"),
        "comparison with the base model": found.get("verdict"),
        "prompt it was judged with": found.get("tuned_prompt"),
        "release check": gate.get("verdict") if isinstance(gate, Mapping) else None,
    }
