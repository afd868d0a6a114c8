#!/usr/bin/env bash
# Makes a release under dist/: one stripped program with its manual pages and shell completions. Tests that it
# trains on a system with only the C library: scripts/release.sh [CARGO OPTIONS, such as --no-default-features]
set -euo pipefail
cd "$(dirname "$0")/.."

began=$SECONDS
cargo build --release --locked "$@"
echo "built in $((SECONDS - began)) s"
target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
program=$target/release/metaburn
version=$("$program" --version | cut -d ' ' -f 2)
name=metaburn-$version-$(rustc -vV | sed -n 's/^host: //p')

# The program may link only to the C library and the compiler's runtime. GPU drivers are loaded on request.
bare=$(mktemp -d)
trap 'rm -rf "$bare"' EXIT
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
inside /metaburn train --progress none --backend flex --steps 2 --run-dir /run --set model.filters=4 \
    --set eval.every=0 --set eval.test_episodes=4
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
