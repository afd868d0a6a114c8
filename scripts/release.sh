#!/usr/bin/env bash
# Makes a release under dist/: one stripped program with its manual pages and shell completions, and a Python wheel that
# carries the same program. Tests that it trains on a system with only the C library, and after `pip install` in a fresh
# virtual environment: scripts/release.sh [CARGO OPTIONS, such as --no-default-features]
# Needs Python with its venv module. maturin and auditwheel are installed into a temporary environment from PyPI, unless
# RELEASE_PYTHON names a Python that has them. RELEASE_LEARNERS="NAME=RUN_DIR …" also packs trained learners, each the best
# checkpoint of a run, as dist/NAME.safetensors for `metaburn import`. Both paths are relative to the folder in which the
# script is called. Nothing is published.
set -euo pipefail

# The paths that the user gave, made absolute before the script goes to the repository. A Python without a slash is looked up in
# PATH; the link to it in a virtual environment is kept.
python=${RELEASE_PYTHON:-}
[[ $python != */* || $python == /* ]] || python=$PWD/$python
learners=()
for learner in ${RELEASE_LEARNERS:-}; do
    run_dir=${learner#*=}
    if [[ $learner != ?*=?* || ! -d $run_dir ]]; then
        echo "error: RELEASE_LEARNERS has $learner, which is not NAME=RUN_DIR with the folder of a run" >&2
        exit 1
    fi
    learners+=("${learner%%=*}=$(realpath "$run_dir")")
done
cd "$(dirname "$0")/.."

began=$SECONDS
# Only this package, as maturin builds it. Together with `bilevel`, the engine would have its default features too.
cargo build --release --locked --package metaburn --bin metaburn "$@"
echo "built in $((SECONDS - began)) s"
target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
program=$target/release/metaburn
version=$("$program" --version | cut -d ' ' -f 2)
name=metaburn-$version-$(rustc -vV | sed -n 's/^host: //p')

# The program may link only to the C library and the compiler's runtime. GPU drivers are loaded on request.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
bare=$scratch/bare
mkdir "$bare"
cp "$program" "$bare/metaburn"
while read -r library; do
    case $(basename "$library") in
    libc.so.* | libm.so.* | libdl.so.* | libpthread.so.* | librt.so.* | libgcc_s.so.* | ld-linux*) ;;
    *)
        echo "it needs $library, which a bare system may lack" >&2
        exit 1
        ;;
    esac
    mkdir -p "$bare$(dirname "$library")"
    cp -L "$library" "$bare$library"
done < <(ldd "$program" | grep -o '/[^ ]*')

inside() {
    if [[ $EUID == 0 ]]; then chroot "$bare" "$@"; else unshare --map-root-user chroot "$bare" "$@"; fi
}
short=(--progress none --backend flex --steps 2 --set model.filters=4 --set eval.every=0 --set eval.test_episodes=4)
inside /metaburn train "${short[@]}" --run-dir /run
inside /metaburn eval /run --episodes 4 >/dev/null
echo "it trains in a folder with nothing but the C library"

stage=dist/$name
rm -rf "$stage" && mkdir -p "$stage/completions"
cp "$program" README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE "$stage"
"$program" man --out "$stage/man" >/dev/null
for shell in bash zsh fish powershell elvish; do
    "$program" completions "$shell" >"$stage/completions/metaburn.$shell"
done
tar -C dist -czf "dist/$name.tar.gz" "$name"
(cd dist && sha256sum "$name.tar.gz" >"$name.tar.gz.sha256")
echo "program $(du -h "$program" | cut -f 1), archive $(du -h "dist/$name.tar.gz" | cut -f 1): dist/$name.tar.gz"

# The wheel. maturin calls Cargo with the same profile, features and target directory, so nothing is compiled again. It
# names the oldest C library that the program runs on in the wheel's tag; auditwheel checks that.
if [[ -z $python ]]; then
    python3 -m venv "$scratch/tools"
    python=$scratch/tools/bin/python
    "$python" -m pip install --quiet --disable-pip-version-check 'maturin>=1.9,<2' auditwheel
fi
"$python" -m maturin build --release --locked --quiet --out "$scratch/wheel" "$@"
wheel=$(echo "$scratch"/wheel/*.whl)
"$python" -m auditwheel show "$wheel" | tee "$scratch/audit"
claimed=$(basename "$wheel" .whl | sed 's/.*-none-//')
found=$(tr '\n' ' ' <"$scratch/audit" | grep -o 'following platform tag: *"[^"]*"' | cut -d '"' -f 2)
if [[ .$claimed. != *".$found."* ]]; then
    echo "the wheel claims to run on $claimed, but auditwheel finds $found" >&2
    exit 1
fi

python3 -m venv "$scratch/fresh"
"$scratch/fresh/bin/pip" install --quiet --disable-pip-version-check --no-index "$wheel"
installed=$scratch/fresh/bin/metaburn
cmp "$installed" "$bare/metaburn" # It is the program tested above.
[[ $("$installed" --version) == "metaburn $version" ]]
(cd "$scratch" && "$installed" train "${short[@]}" --run-dir installed && "$installed" doctor)
"$scratch/fresh/bin/pip" uninstall --quiet --disable-pip-version-check --yes metaburn
if [[ -e $installed ]]; then
    echo "pip uninstall left $installed" >&2
    exit 1
fi
mv "$wheel" dist/
wheel=dist/$(basename "$wheel")
(cd dist && sha256sum "$(basename "$wheel")" >"$(basename "$wheel").sha256")
echo "it trains after pip install in a fresh environment; wheel $(du -h "$wheel" | cut -f 1): $wheel"

# Trained learners. The wheel's program must be able to import them where there are no images.
mkdir "$scratch/elsewhere"
for learner in "${learners[@]}"; do
    file=${learner%%=*}.safetensors
    "$program" export "${learner#*=}" --checkpoint best -o "dist/$file"
    (cd dist && sha256sum "$file" >"$file.sha256")
    file=$PWD/dist/$file
    (cd "$scratch/elsewhere" && "$bare/metaburn" import "$file" --run-dir "${learner%%=*}")
done
