# shellcheck shell=sh
# Sourced by scripts/install, and by what makes the file package-hashes: the npm packages of a tree, and whether they are
# what package-lock.json says. Plain shell, because the Node that could do it is one of these packages.

# digest_of FOLDER: one hash of all files of a package, their names and whether they are executable. A package inside of a
# package counts for itself. What only compilers and readers of manuals want of Node is neither installed nor counted.
digest_of() {
  (
    cd "$1" || exit 1
    skipped='( -name node_modules )'
    case $1 in */node-linux-*) skipped='( -name node_modules -o -path ./include -o -path ./share )' ;; esac
    # shellcheck disable=SC2086 # a list of words on purpose
    skipping() { find . $skipped -prune -o "$@"; }
    # A link leads to what no hash is of.
    [ -z "$(skipping ! -type f ! -type d -print)" ] || exit 1
    { skipping -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum &&
      skipping -type f -perm -u+x -print0 | LC_ALL=C sort -z; } | sha256sum | cut -d ' ' -f 1
  )
}

# copy_packages FROM TO: what the tree FROM has of the packages that TO/package-hashes lists. Nothing of it is run.
copy_packages() {
  while read -r _ _ package _; do
    [ -d "$1/$package" ] || continue
    mkdir -p "$2/$package"
    skipped='--exclude=node_modules'
    case $package in */node-linux-*) skipped="$skipped --exclude=./include --exclude=./share" ;; esac
    # shellcheck disable=SC2086 # a list of words on purpose
    tar -C "$1/$package" $skipped -cf - . | tar -C "$2/$package" --no-same-owner -xf -
  done <<EOF
$(list_packages "$2")
EOF
}

# wrong_packages TREE: a line for each package that is not there, or not what TREE/package-hashes says.
wrong_packages() {
  while read -r digest _ package optional; do
    if [ -d "$1/$package" ]; then
      [ "$(digest_of "$1/$package")" = "$digest" ] || printf '%s is changed\n' "$package"
    elif [ -z "$optional" ]; then
      printf '%s is missing\n' "$package"
    fi
  done <<EOF
$(list_packages "$1")
EOF
}

list_packages() { grep -v '^#' "$1/package-hashes"; }
