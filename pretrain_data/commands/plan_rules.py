"""`pretrain-data plan rules`."""

from __future__ import annotations

from typing import Annotated

import typer

from pretrain_data.commands import ConfigArgument, JsonOption, SetOption, command, open_pipeline, out, print_json


@command("plan rules")
def plan_rules(
    config: ConfigArgument,
    rule: Annotated[
        list[str] | None, typer.Option("--rule", metavar="NAME", help="Show this rule; default: all of them together.")
    ] = None,
    adjust: Annotated[
        list[str] | None,
        typer.Option("--adjust", metavar="RULE.PARAMETER=NUMBER", help="What if this were so; RULE=off switches off."),
    ] = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what the rules do to the make-up of the data, and what other thresholds would do.

    Judges the signals that the last run of the rules stage kept; no text is read again.

    Example: pretrain-data plan rules configs/sample.yaml --rule zh_bullets --adjust zh_bullets.most=0.5
    """
    from pretrain_data.rules import audit, auditfiles
    from pretrain_data.stages.rules import Rules, RulesConfig, adjusted

    pipeline = open_pipeline(config, overrides)
    settings = pipeline.stages["rules"].config if "rules" in pipeline.stages else RulesConfig()
    assert isinstance(settings, RulesConfig)
    stage = Rules(adjusted(settings, adjust or []))
    folder = pipeline.workspace / "rules"
    found = auditfiles.what_if(folder, stage.rule_set)
    names = rule or [audit.ALL_RULES]
    known = {audit.ALL_RULES, audit.PENALTY, *(r.name for r in stage.rule_set.rules)}
    for name in names:
        if name not in known:
            raise typer.BadParameter(f"no rule {name}", param_hint="--rule")
    near = {name: auditfiles.nearest_examples(folder, name) for name in names}
    if as_json:
        wanted = {name: found["rules"].get(name) for name in (names if rule else found["rules"])}
        print_json(found | {"rules": wanted, "examples": near})
        return
    for name in names:
        for line in audit.lines(found, name):
            out.print(line, markup=False)
        if near[name]:
            out.print("  nearest to the threshold in the last run:")
        for case in near[name]:
            out.print(
                f"    {case['side']} {case['doc_id']}: {case['value']:.4g} against {case['threshold']:.4g}",
                markup=False,
            )
    if not rule:
        sizes = [(r["documents"], n, r) for n, r in found["rules"].items() if n != audit.ALL_RULES]
        out.print("by rule: documents removed, of them by this rule alone")
        for documents, name, one in sorted(sizes, key=lambda s: (-s[0], s[1])):
            out.print(f"  {name}: {documents:,}, {one['alone_documents']:,}", markup=False)
