//! The rule that the chart says the same of its values everywhere: in `values.yaml`, in its schema and in its README.
//!
//! `values.yaml` is the source. Text after `# --` above a key describes it and all that is below it; the tables of the
//! README are made of these texts.

use serde_json::Value;

/// One value as the README tells of it.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Row {
    path: String,
    default: String,
    text: String,
}

/// The lines between which the README has its table.
const BEGIN: &str =
    "<!-- The table is made from values.yaml: UPDATE=1 cargo test --test house_rules chart -->\n";
const END: &str = "<!-- The end of the table. -->\n";

/// The described values, in the order of the file.
pub(crate) fn rows(text: &str) -> Vec<Row> {
    let values = parse(text);
    let (mut rows, mut parents, mut description) = (Vec::new(), Vec::<(usize, &str)>::new(), String::new());
    for line in text.lines() {
        let trimmed = line.trim_start();
        let indent = line.len() - trimmed.len();
        if let Some(comment) = trimmed.strip_prefix('#') {
            if let Some(first) = comment.strip_prefix(" -- ") {
                description = first.to_owned();
            } else if !description.is_empty() {
                description.push_str(comment);
            }
            continue;
        }
        let key = trimmed.split_once(':').map(|(key, _)| key);
        let Some(key) = key.filter(|key| key.chars().all(char::is_alphanumeric)) else {
            description.clear();
            continue;
        };
        parents.retain(|(parent, _)| *parent < indent);
        parents.push((indent, key));
        if !description.is_empty() {
            let path = parents.iter().map(|(_, key)| *key).collect::<Vec<_>>().join(".");
            let default = values.pointer(&format!("/{}", path.replace('.', "/"))).unwrap_or(&Value::Null);
            rows.push(Row { path, default: default.to_string(), text: std::mem::take(&mut description) });
        }
    }
    rows
}

fn parse(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("values.yaml can't be read: {error}"))
}

/// The README with the table that these values make.
pub(crate) fn readme(kept: &str, values: &str) -> Option<String> {
    let (before, rest) = kept.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    let mut table = "| value | default | meaning |\n|---|---|---|\n".to_owned();
    for Row { path, default, text } in rows(values) {
        let text = text.replace('|', "\\|");
        table.push_str(&format!("| `{path}` | `{default}` | {text} |\n"));
    }
    Some(format!("{before}{BEGIN}{table}{END}{after}"))
}

/// The values that no text describes, and those of which the schema and `values.yaml` say different things.
pub(crate) fn differences(values: &str, schema: &Value) -> Vec<String> {
    let (described, parsed) = (rows(values), parse(values));
    let mut found = Vec::new();
    let mut have = Vec::new();
    leaves(&parsed, "", &|path| described.iter().any(|row| row.path == path), &mut have);
    for path in &have {
        if !described.iter().any(|row| row.path == *path) {
            found.push(format!("values.yaml does not say what {path} is"));
        }
    }
    let mut known = Vec::new();
    schema_leaves(schema, "", &mut known);
    // For parent charts, which set them without knowing this one.
    known.retain(|path| !["global", "enabled"].contains(&path.as_str()));
    found.extend(
        have.iter().filter(|path| !known.contains(path)).map(|path| format!("the schema lacks {path}")),
    );
    found.extend(
        known.iter().filter(|path| !have.contains(path)).map(|path| format!("values.yaml lacks {path}")),
    );
    found
}

/// The paths of a value, down to those that are described as a whole.
fn leaves(value: &Value, path: &str, is_described: &impl Fn(&str) -> bool, found: &mut Vec<String>) {
    match value.as_object() {
        Some(fields) if !is_described(path) && !fields.is_empty() => {
            for (name, inner) in fields {
                leaves(inner, join(path, name).as_str(), is_described, found);
            }
        }
        _ => found.push(path.to_owned()),
    }
}

/// The paths of a schema, down to those that have no properties of their own.
fn schema_leaves(schema: &Value, path: &str, found: &mut Vec<String>) {
    match schema["properties"].as_object() {
        Some(properties) => {
            properties.iter().for_each(|(name, inner)| schema_leaves(inner, &join(path, name), found));
        }
        None => found.push(path.to_owned()),
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const VALUES: &str = "# A file.\n\n# -- One\n# and more.\na: 1\nb:\n  # -- Two | three.\n  c: {}\n# -- Four.\nd:\n  e: [x]\n";

    #[test]
    fn a_text_describes_the_value_below_it() {
        let row = |path: &str, default: &str, text: &str| Row {
            path: path.to_owned(),
            default: default.to_owned(),
            text: text.to_owned(),
        };
        let expected = [
            row("a", "1", "One and more."),
            row("b.c", "{}", "Two | three."),
            row("d", r#"{"e":["x"]}"#, "Four."),
        ];
        assert_eq!(rows(VALUES), expected);
        let page = readme(&format!("before\n{BEGIN}old\n{END}after\n"), VALUES).expect("it has a place");
        assert!(page.contains("| `b.c` | `{}` | Two \\| three. |\n") && !page.contains("old"), "{page}");
        assert!(page.starts_with("before\n") && page.ends_with("after\n"), "{page}");
        assert_eq!(readme("no place", VALUES), None);
    }

    #[test]
    fn a_value_without_text_or_schema_is_found() {
        let schema = json!({"properties": {
            "global": {}, "a": {}, "b": {"properties": {"c": {"type": "object"}}}, "d": {"type": "object"},
        }});
        assert_eq!(differences(VALUES, &schema), [""; 0]);
        assert_eq!(differences(&VALUES.replace("# -- Four", "# Four"), &schema).len(), 3);
        assert_eq!(
            differences(&VALUES.replace("a: 1", "f: 1"), &schema),
            ["the schema lacks f", "values.yaml lacks a"]
        );
    }
}
