#!/bin/sh
# Makes an authority, and a certificate that it signed for each process that is named. What is there already stays, so
# that a process can be added later:  certificates.sh FOLDER NAME...
# Everybody who has a certificate of this authority can read and write every document: keep the folder to yourself.
set -eu
umask 077
folder=$1
shift
mkdir -p "$folder"
cd "$folder"
if [ ! -f ca.crt ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 \
        -keyout ca.key -out ca.crt.new -subj "/CN=ringleaf processes" \
        -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign"
    mv ca.crt.new ca.crt
fi
for name in "$@"; do
    [ -f "$name.crt" ] && continue
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
        -keyout "$name.key" -out "$name.csr" -subj "/CN=$name"
    # Every process is a server and a client of the others.
    cat > "$name.ext" <<END
subjectAltName = DNS:$name, DNS:localhost, IP:127.0.0.1
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
END
    openssl x509 -req -in "$name.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 825 \
        -extfile "$name.ext" -out "$name.crt.new"
    rm "$name.csr" "$name.ext"
    mv "$name.crt.new" "$name.crt"
done
# The user of the image. Elsewhere the files belong to whoever made them.
if [ "$(id -u)" = 0 ] && [ -n "${CERTIFICATES_OWNER:-}" ]; then
    chown -R "$CERTIFICATES_OWNER" .
    chown root ca.key
fi
