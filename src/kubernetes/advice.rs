//! Commands that create the objects which a gateway names, or add what is missing in them.
//!
//! They are whole but for the secrets, which stand in variables of the shell that a person sets first.

use super::keys::Encoding;

/// The command that creates a Secret or ConfigMap with these keys.
pub(super) fn create(encoding: Encoding, namespace: &str, name: &str, keys: &[&str]) -> String {
    match (encoding, keys) {
        (Encoding::Text, [key, ..]) => {
            format!("kubectl create configmap {name} -n {namespace} --from-file={key}=ca.crt")
        }
        (Encoding::Base64, ["tls.crt", ..]) => {
            format!("kubectl create secret tls {name} -n {namespace} --cert=tls.crt --key=tls.key")
        }
        (_, keys) => {
            // Of a login, the keys of the more common of its two ways.
            let keys = keys.iter().filter(|key| **key != "clientKey");
            let values: String =
                keys.map(|key| format!(" --from-literal={key}=\"${}\"", variable(key))).collect();
            format!("kubectl create secret generic {name} -n {namespace}{values}")
        }
    }
}

/// The command that adds a key to a Secret or ConfigMap.
pub(super) fn add_key(encoding: Encoding, namespace: &str, name: &str, key: &str) -> String {
    let (kind, field) = match encoding {
        Encoding::Text => ("configmap", "data"),
        Encoding::Base64 => ("secret", "stringData"),
    };
    format!(
        "kubectl patch {kind} {name} -n {namespace} --type=merge --field-manager=testinium -p \
         \"{{\\\"{field}\\\":{{\\\"{key}\\\":\\\"${}\\\"}}}}\"",
        variable(key)
    )
}

/// The variable of a shell for the value of a key, such as `CLIENT_ID` for clientId.
fn variable(key: &str) -> String {
    let mut name = String::new();
    for char in key.chars() {
        match char {
            'A'..='Z' => name.extend(['_', char]),
            'a'..='z' | '0'..='9' => name.push(char.to_ascii_uppercase()),
            _ => name.push('_'),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_whole_but_for_the_secrets() {
        let (text, base64) = (Encoding::Text, Encoding::Base64);
        assert_eq!(
            create(base64, "team", "token", &["token"]),
            "kubectl create secret generic token -n team --from-literal=token=\"$TOKEN\""
        );
        assert_eq!(
            create(
                base64,
                "team",
                "login",
                &["username", "password", "clientKey", "clientId", "clientSecret"]
            ),
            "kubectl create secret generic login -n team --from-literal=username=\"$USERNAME\" \
             --from-literal=password=\"$PASSWORD\" --from-literal=clientId=\"$CLIENT_ID\" \
             --from-literal=clientSecret=\"$CLIENT_SECRET\""
        );
        assert_eq!(
            create(base64, "team", "cert", &["tls.crt", "tls.key"]),
            "kubectl create secret tls cert -n team --cert=tls.crt --key=tls.key"
        );
        assert_eq!(
            create(text, "team", "ca", &["ca.crt"]),
            "kubectl create configmap ca -n team --from-file=ca.crt=ca.crt"
        );
        assert_eq!(
            add_key(base64, "team", "token", "token"),
            "kubectl patch secret token -n team --type=merge --field-manager=testinium -p \
             \"{\\\"stringData\\\":{\\\"token\\\":\\\"$TOKEN\\\"}}\""
        );
        assert!(
            add_key(text, "team", "ca", "ca.crt").contains("\\\"data\\\":{\\\"ca.crt\\\":\\\"$CA_CRT\\\"}")
        );
    }
}
