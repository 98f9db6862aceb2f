//! The CustomResourceDefinitions as they are installed.
//!
//! The derive macro writes schemas for Rust readers; what is installed is read by `kubectl explain` and by the API
//! server, so it is put into their form here, once for every kind.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::CustomResourceExt;
use serde_json::Value;

use super::{TestPlanCleanup, TestPlanRun, TestiniumGateway};

/// Every CustomResourceDefinition of this operator, ready to be installed.
pub fn crds() -> Vec<CustomResourceDefinition> {
    let mut crds = vec![TestPlanRun::crd(), TestiniumGateway::crd(), TestPlanCleanup::crd()];
    for crd in &mut crds {
        for version in &mut crd.spec.versions {
            if let Some(schema) = version.schema.as_mut().and_then(|s| s.open_api_v3_schema.as_mut()) {
                refine(schema);
            }
        }
    }
    crds
}

/// Puts a schema and all that it holds into the form that Kubernetes' users expect.
fn refine(schema: &mut JSONSchemaProps) {
    // An optional field is left out, not null. The API server drops a null of a field that isn't nullable, as it does
    // for the built-in kinds, so `stopped: null` means the same as no `stopped`.
    schema.nullable = None;
    if let Some(values) = &mut schema.enum_ {
        values.retain(|value| !value.0.is_null());
    }
    schema.title = None;
    if let Some(text) = &mut schema.description {
        *text = unwrap_lines(text);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        refine(items);
    }
    for property in schema.properties.iter_mut().flat_map(|map| map.values_mut()) {
        refine(property);
    }
}

/// Joins the lines of each paragraph, since `kubectl explain` wraps to the reader's terminal.
fn unwrap_lines(text: &str) -> String {
    let join = |paragraph: &str| paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    text.split("\n\n").map(join).collect::<Vec<_>>().join("\n\n")
}

/// A CustomResourceDefinition as a YAML document, as `crds/` holds it.
pub fn to_yaml(crd: &CustomResourceDefinition) -> Result<String, YamlError> {
    let mut value = serde_json::to_value(crd)?;
    integers(&mut value);
    let options = serde_saphyr::ser_options! { compact_list_indent: true, prefer_block_scalars: false };
    Ok(serde_saphyr::to_string_with_options(&value, options)?)
}

/// The name of a CustomResourceDefinition's file in `crds/`.
pub fn file_name(crd: &CustomResourceDefinition) -> String {
    format!("{}.yaml", crd.spec.names.plural)
}

/// Why a CustomResourceDefinition could not be written as YAML.
#[derive(Debug, thiserror::Error)]
pub enum YamlError {
    #[error("failed to turn a CustomResourceDefinition into JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("failed to write a CustomResourceDefinition as YAML: {0}")]
    Yaml(#[from] serde_saphyr::ser::Error),
}

/// Writes whole numbers as such: a schema's bounds are floats to its Rust type, and `1.0` would puzzle its readers.
fn integers(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(integers),
        Value::Object(fields) => fields.values_mut().for_each(integers),
        Value::Number(number) => {
            // Up to 2^53, where every whole number has its own float.
            if let Some(float) =
                number.as_f64().filter(|f| f.fract() == 0.0 && f.abs() <= 9_007_199_254_740_992.0)
            {
                *number = (float as i64).into();
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}
#[cfg(test)]
mod tests {
    use super::*;

    /// Every schema in the CRDs, with the path that leads to it.
    fn schemas() -> Vec<(String, JSONSchemaProps)> {
        fn walk(path: &str, schema: &JSONSchemaProps, all: &mut Vec<(String, JSONSchemaProps)>) {
            all.push((path.to_owned(), schema.clone()));
            for (name, property) in schema.properties.iter().flatten() {
                walk(&format!("{path}.{name}"), property, all);
            }
            if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
                walk(&format!("{path}[]"), items, all);
            }
        }
        let mut all = Vec::new();
        for crd in crds() {
            for version in &crd.spec.versions {
                let schema = version.schema.as_ref().and_then(|s| s.open_api_v3_schema.as_ref());
                walk(&crd.spec.names.kind, schema.expect("a version has a schema"), &mut all);
            }
        }
        all
    }

    #[test]
    fn every_field_is_described_for_kubectl_explain() {
        let schemas = schemas();
        assert!(schemas.len() > 50, "the walk reaches nested fields, found {}", schemas.len());
        for (path, schema) in schemas.iter().filter(|(path, _)| !path.ends_with("plans[]")) {
            let text = schema.description.as_deref().unwrap_or_default();
            assert!(text.ends_with('.'), "{path} needs a description that is a sentence, found {text:?}");
            for alien in ["`", "::", "Option", "Vec<", "[Self", "derived type", "\n"] {
                assert!(!text.contains(alien), "the description of {path} contains {alien:?}: {text:?}");
            }
        }
    }

    #[test]
    fn every_enum_value_is_named_in_its_description() {
        let enums: Vec<_> = schemas().into_iter().filter(|(_, schema)| schema.enum_.is_some()).collect();
        assert!(enums.len() >= 4, "found {} enums", enums.len());
        for (path, schema) in enums {
            for value in schema.enum_.iter().flatten() {
                let value = value.0.as_str().expect("enums are strings");
                let text = schema.description.as_deref().unwrap_or_default();
                assert!(
                    text.contains(value),
                    "the description of {path} must say what {value} means: {text:?}"
                );
            }
        }
    }

    #[test]
    fn every_rule_says_what_to_write_and_every_ruled_string_is_bounded() {
        let mut rules = 0;
        for (path, schema) in schemas() {
            for rule in schema.x_kubernetes_validations.iter().flatten() {
                rules += 1;
                let message = rule.message.as_deref().unwrap_or_default();
                assert!(message.len() > 20, "the rule {:?} of {path} needs a message", rule.rule);
                let bounded = schema.type_.as_deref() != Some("string") || schema.max_length.is_some();
                assert!(bounded, "{path} needs a maxLength: the cost of its rule grows with it");
            }
        }
        assert!(rules >= 10, "found {rules} rules");
    }

    #[test]
    fn nothing_is_nullable_and_bounds_are_whole_numbers() {
        for crd in crds() {
            let yaml = to_yaml(&crd).expect("a CRD can be written as YAML");
            assert!(!yaml.contains("nullable"), "{yaml}");
            assert!(!yaml.contains(".0\n"), "{yaml}");
            assert!(
                yaml.starts_with("apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n")
            );
        }
    }

    #[test]
    fn paragraphs_stay_and_lines_are_joined() {
        assert_eq!(unwrap_lines("one\n two\n\nthree"), "one two\n\nthree");
    }

    #[test]
    fn whole_numbers_lose_their_fraction_and_no_other_number_changes() {
        let mut value = serde_json::json!({"a": [1.0, 1.5, 9_007_199_254_740_991.0, 1e300, -3]});
        integers(&mut value);
        assert_eq!(value, serde_json::json!({"a": [1, 1.5, 9_007_199_254_740_991_i64, 1e300, -3]}));
    }
}
