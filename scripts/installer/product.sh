# shellcheck shell=sh
# Sourced by scripts/install and by what signs releases: which files of a tree are the product.

product='CHANGELOG.md CONTRIBUTING.md LICENSE README.md SECURITY.md common docs examples ha-agent lbctl lbd package-hashes
  package-lock.json package.json scripts tsconfig.json'

# product_files TREE: their names, each with a zero byte. Only files, and only those of the product: what else lies in the
# tree, such as a secret, and what links of it lead to are nobody's business.
product_files() {
  # shellcheck disable=SC2086 # a list of words on purpose
  (cd "$1" && find $product -type f ! \( -path 'examples/*' ! -name '*.yaml' \) -print0)
}
