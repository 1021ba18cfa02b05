"""What a verdict rests on: figures of a group's records, and of the dumps that lie beside them.

`group` draws what records alone give, `detail` what detections and anatomies add (`diagnoses` keeps
what was computed from them), `pictures` chooses test images. RULE of this room: every number here
is asked from `tables`, `arms` or experiments.evaluation; a figure that leaves out an arm says so.
"""
