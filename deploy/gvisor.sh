#!/bin/sh
# Puts gVisor's runsc into a directory: deploy/gvisor.sh DIRECTORY
#
# Debian 12 has a runsc of 2022 without the systrap platform; Debian 13 has one static program that runs on both. It is
# fetched as a package, with its signature checked, from whatever mirror this machine's own sources name, by apt state of
# its own, so that nothing of the system is changed or upgraded. Needs root or any user, apt-get and dpkg-deb.
set -eu
target=${1:?usage: deploy/gvisor.sh DIRECTORY}
mkdir -p "$target"
target=$(cd "$target" && pwd)
if [ -x "$target/runsc" ]; then
    exit 0
fi
keys=/usr/share/keyrings/debian-archive-keyring.gpg
sites=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages')
mirror=$(echo "$sites" | grep -m 1 '/debian/*$') || {
    echo "no Debian mirror among apt's sources: ${sites:-none at all}" >&2
    exit 1
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial"
echo "deb [signed-by=$keys] $mirror trixie main" >"$work/sources.list"
options="-qq -o Dir::Etc::sourcelist=$work/sources.list -o Dir::Etc::sourceparts=- -o Dir::State=$work/state \
    -o Dir::State::status=/dev/null -o Dir::Cache=$work/cache -o Acquire::Languages=none -o APT::Sandbox::User= \
    -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false -o Acquire::Retries=3 -o Acquire::http::Timeout=30"
cd "$work"
for pause in 5 15 30 60 end; do
    # shellcheck disable=SC2086 # words on purpose
    apt-get $options --error-on=any update && apt-get $options download runsc && break
    if [ $pause = end ]; then
        echo "$mirror does not give runsc of trixie" >&2
        exit 1
    fi
    echo "asking $mirror again in $pause s" >&2
    sleep $pause
done
dpkg-deb -x runsc_*.deb unpacked
install -m 0755 unpacked/usr/bin/runsc "$target/runsc"
"$target/runsc" --version | head -1
