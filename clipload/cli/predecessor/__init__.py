"""The older tool's commands: their flags with their old defaults, each translated into clipload's own.

Laws: a translation prints the new command on stderr, and what is done is what that command would do; stdout holds what the
older tool printed there, for scripts. A key that came on the command line is warned of, masked in every echo, and reaches
nobody's arguments again.
"""
