# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# tools - the lab's own small C programs, compiled when first wanted.
#
# They are no part of the product's build: the guest's are static, and none of
# them may carry a sanitizer.

# Print the path of program $1, compiled from the sources as they are now.
tool_path() {
  local name=$1 source=$LAB_HERE/$1.c options=() path hash
  [[ -e $source ]] || { source=$LAB_HERE/guest/$1.c && options=(-static); }
  [[ $name != check ]] || options=(-lnbd)
  hash=$(cat "$source" "$LAB_HERE"/guest/record.[ch] | sha256sum | cut -c1-16)
  path=$LAB_CACHE/tools/$name-$hash/$name
  if [[ ! -x $path ]]; then
    mkdir -p "${path%/*}"
    "${CC:-gcc}" -std=gnu11 -D_GNU_SOURCE -O2 -Wall -Wextra -I"$LAB_HERE" -o "$path.$$" "$source" \
      "$LAB_HERE/guest/record.c" "${options[@]}" >&2 || die "the program '$name' of the lab does not compile"
    mv "$path.$$" "$path"
  fi
  echo "$path"
}
