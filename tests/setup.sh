#!/bin/bash
# Installs what building and testing need on Debian: Open vSwitch, OVN, the network tools, a C compiler, and Rust when
# there is none or it is too old. Does nothing when all is there, and starts no service.
#
#   tests/setup.sh [COMMAND:PACKAGE...]
#
# installs the packages of those commands instead (see tests/kubernetes/binaries).
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:$HOME/.cargo/bin

# A command that must be there, and the package that has it.
needed=(
    ovs-vswitchd:openvswitch-switch ovs-ofctl:openvswitch-switch ovsdb-tool:openvswitch-common
    ovn-northd:ovn-central ovn-nbctl:ovn-common ovn-controller:ovn-host
    ip:iproute2 iptables:iptables nft:nftables ping:iputils-ping tcpdump:tcpdump ethtool:ethtool sysctl:procps iperf3:iperf3 busybox:busybox curl:curl
    unshare:util-linux nsenter:util-linux setpriv:util-linux make:make gcc:gcc
)
if [ $# != 0 ]; then needed=("$@"); fi

rust_version=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)

# Whether version $1 is at least version $2.
at_least() { [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]; }

rust_is_there() {
    local version
    version=$(cargo --version 2>/dev/null | cut -d ' ' -f 2) && [ -n "$version" ] && at_least "$version" "$rust_version"
}

packages=()
for entry in "${needed[@]}"; do
    command -v "${entry%%:*}" >/dev/null || packages+=("${entry##*:}")
done
if [ ${#packages[@]} = 0 ] && rust_is_there; then exit 0; fi

if ! command -v apt-get >/dev/null; then
    echo "$0: without apt-get, install by hand: ${packages[*]} and Rust $rust_version or later" >&2
    exit 1
fi
root=()
if [ "$(id -u)" != 0 ]; then root=(sudo); fi

# The packages that are installed.
installed() { dpkg-query -W -f '${db:Status-Status} ${Package}\n' | sed -n 's/^installed //p' | sort; }

# Debian enables services for the next boot at their installation. Those that came with the packages of this run are disabled; whoever
# wants one enables it.
before=$(installed)
disable_new_services() {
    local new files service
    new=$(comm -13 <(echo "$before") <(installed))
    if [ "$new" = '' ]; then return; fi
    files=$(xargs dpkg -L <<<"$new")
    for service in $(sed -nE 's#^(/usr)?/lib/systemd/system/([^/@]+\.(service|socket|timer|path))$#\2#p' <<<"$files"); do
        # It asks to be called by a package.
        "${root[@]}" env DPKG_MAINTSCRIPT_PACKAGE=setup deb-systemd-helper disable "$service" >/dev/null
    done
    for service in $(sed -n 's#^/etc/init\.d/##p' <<<"$files"); do "${root[@]}" update-rc.d "$service" disable; done
}

# Debian starts services at their installation, unless this file says no. One that exists already is not ours.
policy=/usr/sbin/policy-rc.d
ours=
if [ ! -e $policy ]; then
    ours=$policy
    printf '#!/bin/sh\nexit 101\n' | "${root[@]}" tee $policy >/dev/null
    "${root[@]}" chmod 755 $policy
fi
# At the end, however that comes.
clean_up() {
    disable_new_services
    if [ -n "$ours" ]; then "${root[@]}" rm -f $ours; fi
}
trap clean_up EXIT
install() {
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
}

"${root[@]}" apt-get update
# What is there already stays as it is.
if [ ${#packages[@]} != 0 ]; then install --no-upgrade "${packages[@]}" ca-certificates libc6-dev; fi

# The version that apt would install of a package.
candidate() { apt-cache policy "$1" | sed -n 's/^  Candidate: //p'; }

if ! rust_is_there; then
    if at_least "$(candidate cargo-web)" "$rust_version"; then
        install cargo-web rustc-web rustfmt-web rust-web-clippy
    elif at_least "$(candidate cargo)" "$rust_version"; then
        install cargo rustc rustfmt rust-clippy
    elif [ "$(candidate rustup)" != '' ]; then
        install rustup
        rustup default stable
    else
        echo "$0: this suite has no Rust $rust_version; see https://rustup.rs" >&2
        exit 1
    fi
fi
rust_is_there || { echo "$0: cargo is still older than $rust_version: $(command -v cargo)" >&2; exit 1; }
