# arguments.pyx has nothing for Python, only for other modules to cimport.

from typing import Any

__pyx_capi__: dict[str, Any]
