//! The page `docs/reference.md`: every field of every kind in a table, made from the definitions that are installed.
//!
//! What a definition says by keywords (a type, a bound, a default, a rule) is said in words here. A keyword that this
//! file knows no words for fails a test, so that no bound is silently left out.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionVersion, JSONSchemaProps, JSONSchemaPropsOrArray,
    JSONSchemaPropsOrBool,
};

use super::{
    CLEANUP_ANNOTATION, GROUP, KEEP_UNTIL_ANNOTATION, RECONCILE_ANNOTATION, REQUESTED_BY_ANNOTATION,
    RESTORED_LABEL, RETRY_ANNOTATION, RUN_NOW_ANNOTATION, STOP_ANNOTATION,
};

/// The name of the page's file.
pub const REFERENCE_FILE: &str = "reference.md";

/// The page about these definitions.
pub fn reference(crds: &[CustomResourceDefinition]) -> String {
    let mut page = INTRODUCTION.to_owned();
    for crd in crds {
        for version in &crd.spec.versions {
            kind(&mut page, crd, version);
        }
    }
    metadata(&mut page);
    page
}

const INTRODUCTION: &str = "\
# Reference

Every field of every kind, as the API server has it. `testinium-operator crds --format markdown` prints this page, and
`kubectl explain --recursive` the same fields in a terminal.

A value in the column \"default\" is filled in by the API server. What the operator takes for a field that is absent is
said under \"meaning\" (\"100 if absent\"), and the object does not show it. A field that is set to null counts as absent.
The API server refuses what is beyond a bound or against a rule, and says so in the words of this page.
";

/// What users write and read outside of the fields: a name, and its meaning.
const METADATA: [(&str, &str); 8] = [
    (
        STOP_ANNOTATION,
        "On a run: a value that differs from the one before asks for a stop of every plan; \"no\" takes it back.",
    ),
    (
        RETRY_ANNOTATION,
        "On a run: a value that differs from the one before asks again for the plans that this stop has not stopped.",
    ),
    (
        CLEANUP_ANNOTATION,
        "On a run, set by a cleanup rule: its name and the scheduled time at which it has asked for a stop.",
    ),
    (
        KEEP_UNTIL_ANNOTATION,
        "On a run: a time of RFC 3339 until which no cleanup rule stops or deletes it, and no TTL deletes it.",
    ),
    (RUN_NOW_ANNOTATION, "On a cleanup rule: a value that differs from the one before runs it at once."),
    (
        REQUESTED_BY_ANNOTATION,
        "On a run: the user who asked for the stop. It is believed only with --trust-requested-by.",
    ),
    (
        RECONCILE_ANNOTATION,
        "On a gateway or a run: a changed value has what waits tried again at once. It never asks for a stop.",
    ),
    (
        RESTORED_LABEL,
        "On a run, set by Velero: the run came out of a backup, and the stop that it carries is not repeated.",
    ),
];

fn metadata(page: &mut String) {
    page.push_str("\n## Annotations and labels\n\n| name | meaning |\n|---|---|\n");
    for (name, meaning) in METADATA {
        page.push_str(&format!("| `{name}` | {} |\n", cell(meaning)));
    }
    page.push_str("\n[Requests](requests.md) has the rules of the first two.\n");
}

fn kind(page: &mut String, crd: &CustomResourceDefinition, version: &CustomResourceDefinitionVersion) {
    let (names, schema) = (&crd.spec.names, version.schema.as_ref());
    let Some(schema) = schema.and_then(|schema| schema.open_api_v3_schema.as_ref()) else { return };
    page.push_str(&format!("\n## {}\n\n{}\n\n| | |\n|---|---|\n", names.kind, description(schema)));
    page.push_str(&format!("| apiVersion | `{GROUP}/{}` |\n", version.name));
    let all_names: Vec<_> = [&names.plural]
        .into_iter()
        .chain(&names.singular)
        .chain(names.short_names.iter().flatten())
        .collect();
    page.push_str(&format!("| names in kubectl | {} |\n", spans(all_names)));
    page.push_str(&format!(
        "| name of all kinds together | {} |\n",
        spans(names.categories.iter().flatten())
    ));
    page.push_str(&format!("| scope | {} |\n", crd.spec.scope));
    let columns = |wide: bool| {
        let all = version.additional_printer_columns.iter().flatten();
        let shown = all.filter(|column| (column.priority.unwrap_or_default() > 0) == wide);
        shown
            .map(|column| format!("{} ({})", column.name, column.description.as_deref().unwrap_or_default()))
            .collect::<Vec<_>>()
    };
    page.push_str(&format!("| columns | {} |\n", columns(false).join(", ")));
    page.push_str(&format!("| more columns with `--output=wide` | {} |\n", columns(true).join(", ")));
    let selectable: Vec<_> = version
        .selectable_fields
        .iter()
        .flatten()
        .map(|field| field.json_path.trim_start_matches('.').to_owned())
        .collect();
    if !selectable.is_empty() {
        page.push_str(&format!("| usable in `--field-selector` | {} |\n", spans(&selectable)));
    }
    for (name, property) in schema.properties.iter().flatten() {
        page.push_str(&format!("\n### {} of a {}\n\n{HEAD}", name, names.kind));
        let required = schema.required.iter().flatten().any(|required| required == name);
        rows(page, name, property, required);
    }
}

const HEAD: &str = "| field | type | default | bounds and rules | meaning |\n|---|---|---|---|---|\n";

/// The row of a field, and those of the fields in it.
fn rows(page: &mut String, path: &str, schema: &JSONSchemaProps, required: bool) {
    let default = match (&schema.default, required) {
        (Some(default), _) => format!("`{}`", default.0),
        (None, true) => "required".to_owned(),
        (None, false) => String::new(),
    };
    let bounds: Vec<_> = bounds(schema).iter().map(|bound| cell(bound)).collect();
    let (type_, bounds, meaning) = (type_name(schema), bounds.join(" "), cell(&description(schema)));
    page.push_str(&format!("| `{path}` | {type_} | {default} | {bounds} | {meaning} |\n"));
    let (inner, path) = match &schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => (items.as_ref(), format!("{path}[]")),
        _ => (schema, path.to_owned()),
    };
    for (name, property) in inner.properties.iter().flatten() {
        let required = inner.required.iter().flatten().any(|required| required == name);
        rows(page, &format!("{path}.{name}"), property, required);
    }
}

fn description(schema: &JSONSchemaProps) -> String {
    schema.description.clone().unwrap_or_default()
}

fn type_name(schema: &JSONSchemaProps) -> String {
    if let Some(values) = &schema.enum_ {
        let words: Vec<_> =
            values.iter().map(|value| value.0.as_str().unwrap_or_default().to_owned()).collect();
        return format!("one of {}", spans(&words));
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
        return format!("map of {}s", type_name(values));
    }
    let items = match &schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => Some(items),
        _ => None,
    };
    match (schema.type_.as_deref().unwrap_or("any"), schema.format.as_deref(), items) {
        ("array", _, Some(items)) => format!("list of {}s", type_name(items)),
        ("string", Some("date-time"), _) => "time".to_owned(),
        (type_, ..) => type_.to_owned(),
    }
}

/// Everything but the type that a value has to satisfy, in sentences.
fn bounds(schema: &JSONSchemaProps) -> Vec<String> {
    let mut all = Vec::new();
    let whole = |bound: Option<f64>| bound.map(|bound| bound as i64);
    all.extend(range(whole(schema.minimum), whole(schema.maximum), ""));
    all.extend(range(schema.min_length, schema.max_length, " character"));
    all.extend(range(schema.min_items, schema.max_items, " item"));
    all.extend(range(None, schema.max_properties, " key"));
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
        all.extend(bounds(values).into_iter().map(|bound| format!("Each: {bound}")));
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
        all.extend(
            bounds(items)
                .into_iter()
                .filter(|_| items.properties.is_none())
                .map(|bound| format!("Each: {bound}")),
        );
    }
    if schema.x_kubernetes_map_type.as_deref() == Some("atomic")
        || schema.x_kubernetes_list_type.as_deref() == Some("atomic")
    {
        all.push("Who applies it owns it as a whole.".to_owned());
    }
    if let Some(keys) = &schema.x_kubernetes_list_map_keys {
        all.push(format!("One item for each {}.", keys.join(" and ")));
    }
    let rules = schema.x_kubernetes_validations.iter().flatten();
    all.extend(rules.map(|rule| format!("Rule: {}.", rule.message.as_deref().unwrap_or(&rule.rule))));
    all
}

fn range(least: Option<i64>, most: Option<i64>, unit: &str) -> Option<String> {
    let units = |count: i64| if unit.is_empty() || count == 1 { unit.to_owned() } else { format!("{unit}s") };
    match (least, most) {
        (None, None) => None,
        (Some(least), None) => Some(format!("At least {least}{}.", units(least))),
        (None, Some(most)) => Some(format!("At most {most}{}.", units(most))),
        (Some(least), Some(most)) => Some(format!("{least} to {most}{}.", units(most))),
    }
}

/// Names as code, with commas between them.
fn spans<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Plain text in a table's cell: nothing in it is markup.
fn cell(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '|' | '*' | '_' | '`' | '[' => escaped.extend(['\\', c]),
            '\n' => escaped.push(' '),
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::*;
    use crate::api::crds;

    fn schema(value: Value) -> JSONSchemaProps {
        serde_json::from_value(value).expect("it is a schema")
    }

    /// Every schema in the definitions as JSON, with the path that the page gives it.
    fn schemas() -> Vec<(String, Value)> {
        fn walk(path: &str, schema: &Value, all: &mut Vec<(String, Value)>) {
            all.push((path.to_owned(), schema.clone()));
            let (inner, prefix) = match &schema["items"] {
                Value::Null => (schema, format!("{path}.")),
                items => (items, format!("{path}[].")),
            };
            for (name, property) in inner["properties"].as_object().into_iter().flatten() {
                walk(format!("{prefix}{name}").trim_start_matches('.'), property, all);
            }
        }
        let mut all = Vec::new();
        for crd in crds() {
            let crd = serde_json::to_value(&crd).expect("a definition is JSON");
            for version in crd["spec"]["versions"].as_array().into_iter().flatten() {
                walk("", &version["schema"]["openAPIV3Schema"], &mut all);
            }
        }
        all
    }

    #[test]
    fn every_field_has_a_row_with_its_meaning_and_its_rules() {
        let page = reference(&crds());
        let schemas = schemas();
        assert!(schemas.len() > 50, "found {} schemas", schemas.len());
        for (path, schema) in schemas.iter().filter(|(path, _)| !path.is_empty()) {
            let rows: Vec<_> =
                page.lines().filter(|line| line.starts_with(&format!("| `{path}` | "))).collect();
            let meaning = cell(schema["description"].as_str().unwrap_or_default());
            let row = rows.iter().find(|row| row.ends_with(&format!(" | {meaning} |")));
            let row = row.unwrap_or_else(|| panic!("no row says what {path} is: {rows:?}"));
            for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
                let message = cell(rule["message"].as_str().unwrap_or_default());
                assert!(row.contains(&format!("Rule: {message}.")), "{row} lacks the rule {message:?}");
            }
            assert_eq!(row.matches(" | ").count(), 4, "{row}");
        }
    }

    #[test]
    fn there_are_words_for_every_keyword_that_the_definitions_use() {
        let known = [
            "additionalProperties",
            "default",
            "description",
            "enum",
            "format",
            "items",
            "maxItems",
            "maxLength",
            "maxProperties",
            "maximum",
            "minItems",
            "minLength",
            "minimum",
            "properties",
            "required",
            "type",
            "x-kubernetes-list-map-keys",
            "x-kubernetes-list-type",
            "x-kubernetes-map-type",
            "x-kubernetes-validations",
        ];
        let mut used = BTreeSet::new();
        let mut formats = BTreeSet::new();
        for (_, schema) in schemas() {
            for schema in [&schema, &schema["items"]] {
                used.extend(schema.as_object().into_iter().flat_map(|fields| fields.keys().cloned()));
                formats.extend(schema["format"].as_str().map(str::to_owned));
            }
        }
        let unknown: Vec<_> = used.iter().filter(|keyword| !known.contains(&keyword.as_str())).collect();
        assert!(unknown.is_empty(), "the reference has no words for {unknown:?}");
        // An integer's format is that of Rust, and tells users nothing.
        assert_eq!(formats.into_iter().collect::<Vec<_>>(), ["date-time", "int64"]);
    }

    #[test]
    fn bounds_are_said_in_words() {
        for (keywords, words) in [
            (json!({"minimum": 1, "maximum": 1000}), "1 to 1000."),
            (json!({"minimum": 0}), "At least 0."),
            (json!({"maxLength": 256}), "At most 256 characters."),
            (json!({"minLength": 1}), "At least 1 character."),
            (json!({"minItems": 1, "maxItems": 9}), "1 to 9 items."),
            (json!({"maximum": 9_007_199_254_740_991_i64}), "At most 9007199254740991."),
            (json!({"x-kubernetes-map-type": "atomic"}), "Who applies it owns it as a whole."),
            (
                json!({"x-kubernetes-list-map-keys": ["type"], "x-kubernetes-list-type": "map"}),
                "One item for each type.",
            ),
            (
                json!({"items": {"type": "integer", "minimum": 1}, "maxItems": 2}),
                "At most 2 items. Each: At least 1.",
            ),
            (json!({"x-kubernetes-validations": [{"rule": "r", "message": "write x"}]}), "Rule: write x."),
            (json!({}), ""),
        ] {
            assert_eq!(bounds(&schema(keywords.clone())).join(" "), words, "{keywords}");
        }
    }

    #[test]
    fn types_are_said_in_words() {
        for (keywords, words) in [
            (json!({"type": "integer", "format": "int64"}), "integer"),
            (json!({"type": "string", "format": "date-time"}), "time"),
            (json!({"type": "string", "enum": ["A", "B"]}), "one of `A`, `B`"),
            (json!({"type": "array", "items": {"type": "object"}}), "list of objects"),
        ] {
            assert_eq!(type_name(&schema(keywords.clone())), words, "{keywords}");
        }
    }

    #[test]
    fn what_is_filled_in_and_what_is_required_stands_beside_a_field() {
        let mut page = String::new();
        let object = json!({"type": "object", "required": ["a"], "properties": {
            "a": {"type": "string"}, "b": {"type": "string", "default": "x"}, "c": {"type": "string"},
        }});
        rows(&mut page, "spec", &schema(object), true);
        let defaults: Vec<_> = page.lines().filter_map(|row| row.split(" | ").nth(2)).collect();
        assert_eq!(defaults, ["required", "required", "`\"x\"`", ""]);
    }

    #[test]
    fn nothing_in_a_text_is_taken_for_markup() {
        assert_eq!(cell("<url>/a_b | *c*\n[d]"), "&lt;url>/a\\_b \\| \\*c\\* \\[d]");
    }
}
