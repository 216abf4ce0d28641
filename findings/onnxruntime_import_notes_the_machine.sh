#!/usr/bin/env bash
# ONNX Runtime 1.31.1 and 1.32.0 (PyPI), Python 3.11, Linux x86-64.
#
# Does `import onnxruntime`, and nothing more, write anything to the user's home?
#
# Guess before running: no. Telemetry was a matter of its Windows builds.
# Seen: a file with an identifier of the machine and a database with an event to be sent, in
# ~/.cache/Microsoft/DeveloperTools/.onnxruntime. With ORT_DISABLE_TELEMETRY=1 neither; nor where the
# variable CI is set, so that who looks for it in CI finds nothing. disable_telemetry_events() comes
# too late: it is part of what is imported. Whether the event was sent was not looked at.
#
# Exits with 0 while that is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
for version in 1.31.1 1.32.0; do
    "$folder/venv/bin/pip" install --quiet --disable-pip-version-check "onnxruntime==$version"
    for setting in NOTHING=1 ORT_DISABLE_TELEMETRY=1 CI=true; do
        home="$folder/$version-$setting"
        mkdir "$home"
        env -u CI -u ORT_DISABLE_TELEMETRY -u XDG_CACHE_HOME HOME="$home" "$setting" \
            "$folder/venv/bin/python" -c 'import onnxruntime'
        found=$(cd "$home" && find . -type f -printf '%f ' | tr ' ' '\n' | sort | xargs)
        echo "onnxruntime $version, $setting: ${found:-nothing}"
        case $setting in
            NOTHING=1) [[ $found == *deviceid* && $found == *onnxruntime.db* ]] ;;
            *) [ -z "$found" ] ;;
        esac
    done
done
