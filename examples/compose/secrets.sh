#!/bin/sh
# Makes the passwords of examples/compose.yaml, once. Nobody else can enter their folder; each container gets the files that it is given, and
# inside of it a user that is not root has to be able to read them.
set -eu

folder=$(dirname "$0")/secrets
if [ -e "$folder" ]; then
  echo "$folder is there already: remove it, and the volumes of the composition, to begin anew." >&2
  exit 1
fi
mkdir -m 700 "$folder"

random() {
  od -A n -N 24 -t x1 /dev/urandom | tr -d ' \n'
}

shop=$(random)
random > "$folder/superuser-password"
printf '%s' "$shop" > "$folder/shop-password"
printf 'postgresql://shop:%s@database:5432/shop?sslmode=disable\n' "$shop" > "$folder/upstream"
chmod 644 "$folder"/*
