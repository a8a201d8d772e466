"""The strategies that a spec can name."""

from __future__ import annotations

from ..registry import Registry

STRATEGIES = Registry(
    "strategy",
    "netloom.strategies",
    {
        "darts": "netloom.search.strategies.darts:Darts",
        "gm_fewshot": "netloom.search.strategies.gm_fewshot:GmFewshot",
        "local_search": "netloom.search.strategies.local_search:LocalSearch",
        "nni_evolution": "netloom.search.strategies.nni_tuners:NniEvolution",
        "nni_tpe": "netloom.search.strategies.nni_tuners:NniTPE",
        "nsga2": "netloom.search.strategies.nsga2:NSGA2",
        "pc_darts": "netloom.search.strategies.pc_darts:PcDarts",
        "proxyless": "netloom.search.strategies.proxyless:Proxyless",
        "random": "netloom.search.strategies.random:RandomSearch",
        "rarts": "netloom.search.strategies.rarts:Rarts",
        "rarts_width": "netloom.search.strategies.rarts_width:RartsWidth",
        "regularized_evolution": (
            "netloom.search.strategies.regularized_evolution:RegularizedEvolution"
        ),
        "tpe": "netloom.search.strategies.tpe:TPE",
    },
)
