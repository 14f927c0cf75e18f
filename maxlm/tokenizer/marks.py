"""Characters put into a chat while it becomes tokens, which no text holds (noncharacters: Unicode, 23.7)."""

import re

SHIELD = "\ufdd0"  # within or behind the name of a special token that people typed
BEGIN, END = "\ufdd1", "\ufdd2"  # around {% generation %}
RESERVED = re.compile(f"[{SHIELD}{BEGIN}{END}]")
