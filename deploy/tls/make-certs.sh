#!/bin/sh
# Makes a CA, and with it certificates for servers, to try TLS with or for a network of one's own. In production let your own
# CA or cert-manager do it.
#
#   deploy/tls/make-certs.sh DIRECTORY NAME[,NAME…] …
#   deploy/tls/make-certs.sh certs control-plane,localhost,127.0.0.1 tool-server,localhost,127.0.0.1
#
# Makes DIRECTORY/ca.pem once, and for each argument FIRST-NAME.pem (chain), FIRST-NAME.key (mode 0600), for all its names: DNS
# names and IPv4 addresses. A second call renews the certificates under the same CA. DAYS (default 90) is how long they hold.
# Take ca.key away from there: who has it can pretend to be your control plane.
set -eu
umask 077

if [ "$#" -lt 2 ]; then
  echo "Usage: $0 DIRECTORY NAME[,NAME...] ..." >&2
  exit 2
fi
directory=$1
shift
days=${DAYS:-90}
mkdir -p "$directory"
cd "$directory"

ec="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
if [ ! -f ca.pem ]; then
  # shellcheck disable=SC2086 -- several words
  openssl req -x509 $ec -days 3650 -subj '/CN=holdpoint CA' -keyout ca.key -out ca.pem \
    -addext 'basicConstraints=critical,CA:TRUE,pathlen:0' -addext 'keyUsage=critical,keyCertSign,cRLSign' 2>/dev/null
fi

for names in "$@"; do
  first=${names%%,*}
  alternatives=$(printf '%s\n' "$names" | tr ',' '\n' | sed -E 's/^([0-9.]+)$/IP:\1/; /^IP:/!s/^/DNS:/' | paste -sd, -)
  printf 'subjectAltName=%s\nbasicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\n' \
    "$alternatives" >"$first.ext"
  # shellcheck disable=SC2086 -- several words
  openssl req -new $ec -subj "/CN=$first" -keyout "$first.new" -out "$first.csr" 2>/dev/null
  openssl x509 -req -in "$first.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days "$days" -extfile "$first.ext" \
    -out "$first.crt" 2>/dev/null
  # Readable by whom you copy them to; the key stays with its owner.
  mv "$first.new" "$first.key"
  mv "$first.crt" "$first.pem"
  rm -f "$first.ext" "$first.csr"
done
chmod 644 ./*.pem
