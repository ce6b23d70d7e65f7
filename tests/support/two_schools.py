"""A district of two schools in two time zones; their rooms have the same names."""

COMMON = """
district = "Lincoln Schools"
timezone = "America/New_York"
[[site]]
id = "north"
name = "North High"
[[site]]
id = "south"
name = "South High"
timezone = "America/Denver"
"""
SCHOOL = """
[[room]]
id = "{0}-boys"
name = "Boys"
building = "Main"
floor = "2"
site = "{0}"
[[sensor]]
id = "{0}-1"
room = "{0}-boys"
[[staff]]
id = "{0}-ap"
name = "Assistant principal"
sites = ["{0}"]
"""
TWO = COMMON + SCHOOL.format("north") + SCHOOL.format("south")
