"""`plumewatch sample-data`: a made-up school over weeks, to try pages, reports and dashboards."""
