"""The locale of every program that the project starts, whatever the caller's is.

Kafka does not start in a Turkish locale, where the capital of "i" is not "I". Java takes the
encoding of file names from the locale, too, and there is no way to set it otherwise.
"""

import sys

# macOS has C.UTF-8 only since version 15; Linux often lacks en_US.UTF-8.
LOCALE = {"LC_ALL": "en_US.UTF-8" if sys.platform == "darwin" else "C.UTF-8"}
# For programs in Java: on macOS, it takes the language from the settings of the system.
JAVA_LANGUAGE = "-Duser.language=en"
