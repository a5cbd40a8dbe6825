"""Prometheus and Grafana beside the gate: what is made for them, and how it is proven on the real programs.

panel       one panel: what it asks, and how the answer is drawn
promql      the pieces that the questions are made of
panels      what the dashboard asks, row by row
dashboard   the same as Grafana's JSON
names       which metrics a text names
schema      Grafana's own types, asked about that JSON
prometheus  a real Prometheus in a namespace
walk        the lab's household with a real Prometheus looking on
picture     what it answered to the dashboard's questions, drawn
"""
