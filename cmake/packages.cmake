# SPDX-License-Identifier: Apache-2.0
#
# The libraries perilune links, by pkg-config. What is missing is reported all at once, with the Debian package that has it.
# lua-cjson is not here: Lua code requires it at run time.
find_package(PkgConfig REQUIRED)

set(PERILUNE_MISSING "")

function(perilune_package prefix module package)
	pkg_check_modules(${prefix} QUIET IMPORTED_TARGET GLOBAL "${module}")
	if(NOT ${prefix}_FOUND)
		list(APPEND PERILUNE_MISSING "  ${module}\t(Debian: ${package})")
		set(PERILUNE_MISSING "${PERILUNE_MISSING}" PARENT_SCOPE)
	endif()
endfunction()

perilune_package(LIBBPF "libbpf>=1.3" "libbpf-dev; on Debian 12 the one of bookworm-backports")
perilune_package(LUAJIT "luajit" "libluajit-5.1-dev")
perilune_package(LIBUV "libuv" "libuv1-dev")
perilune_package(LIBPCAP "libpcap" "libpcap-dev")
perilune_package(LIBMD "libmd" "libmd-dev")
perilune_package(LIBEDIT "libedit" "libedit-dev")
perilune_package(LIBMNL "libmnl" "libmnl-dev")
perilune_package(LIBMICROHTTPD "libmicrohttpd>=0.9.71" "libmicrohttpd-dev")
perilune_package(GNUTLS "gnutls" "libgnutls28-dev")

if(PERILUNE_MISSING)
	list(JOIN PERILUNE_MISSING "\n" PERILUNE_MISSING)
	message(FATAL_ERROR "These libraries are missing or too old:\n${PERILUNE_MISSING}\n"
		"Install them; `sudo sh examples/setup.sh run` does it on Debian.")
endif()

pkg_check_modules(CMOCKA QUIET IMPORTED_TARGET cmocka)
if(NOT CMOCKA_FOUND)
	set(CMOCKA_FOUND OFF)
endif()
