"""Which receivers hear of an incident, and what mutes it: labels, matchers, a tree of routes.

Pure: no clock, no store, no configuration. The semantics are those of Prometheus Alertmanager
0.28.1 (`docs/routing.md` says where we are stricter): a missing label equals an empty value,
regular expressions are RE2 and match whole values, the first matching child wins unless it
continues, a node without a matching child answers itself.
"""
