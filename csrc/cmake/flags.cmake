# Warnings and instrumentation of our own C. The generated C of Cython gets only the latter.
option(HOTROD_WERROR "Warnings are errors" OFF)
set(HOTROD_SANITIZE "" CACHE STRING "Sanitizers, such as address,undefined")
option(HOTROD_COVERAGE "Count executed lines and branches (gcov)" OFF)

add_library(hotrod_warnings INTERFACE)
if(MSVC)
  target_compile_options(hotrod_warnings INTERFACE /W4 $<$<BOOL:${HOTROD_WERROR}>:/WX>)
else()
  target_compile_options(hotrod_warnings INTERFACE
    -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes
    -Wpointer-arith -Wvla
    $<$<BOOL:${HOTROD_WERROR}>:-Werror>)
endif()

add_library(hotrod_instrumentation INTERFACE)
if(HOTROD_SANITIZE)
  target_compile_options(hotrod_instrumentation INTERFACE
    -fsanitize=${HOTROD_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -g)
  target_link_options(hotrod_instrumentation INTERFACE -fsanitize=${HOTROD_SANITIZE})
endif()
if(HOTROD_COVERAGE)
  target_compile_options(hotrod_instrumentation INTERFACE --coverage -O0 -g)
  target_link_options(hotrod_instrumentation INTERFACE --coverage)
endif()
