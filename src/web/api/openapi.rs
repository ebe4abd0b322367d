//! The description of the API, made of the table of its operations.

use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::http::Method;
use utoipa::openapi::path::{
    HttpMethod, OperationBuilder, Parameter, ParameterBuilder, ParameterIn,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    ComponentsBuilder, ContactBuilder, Content, InfoBuilder, LicenseBuilder, OpenApi,
    OpenApiBuilder, PathItem, PathsBuilder, Ref, RefOr, Required, Response, ResponseBuilder,
    Schema,
};
use utoipa::{PartialSchema as _, ToSchema as _};

use super::operation::Operation;
use super::table;
use crate::error::{Error, Fault};
use crate::web::auth::Access;
use crate::web::error::{Answer, Problem};

/// Written once: it does not change while the process runs.
static TEXT: LazyLock<std::result::Result<String, String>> =
    LazyLock::new(|| document().to_json().map_err(|cause| cause.to_string()));

/// An OpenAPI document.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "told to readers of the API, never built here")]
pub struct Description {
    /// Its version of OpenAPI.
    openapi: String,
}

/// `GET /openapi.json`.
///
/// # Errors
/// The document cannot be written as JSON.
pub async fn openapi() -> Answer {
    let text = TEXT
        .as_ref()
        .map_err(|cause| Error::internal("could not describe the API", cause))?;
    Ok(HttpResponse::Ok()
        .content_type("application/json")
        .body(text.as_str()))
}

/// Builds the description.
pub fn document() -> OpenApi {
    let operations = table::operations();
    let mut components = ComponentsBuilder::new()
        .schema(Fault::name(), Fault::schema())
        .schema(Problem::name(), Problem::schema())
        .security_scheme(
            "token",
            SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)),
        )
        .security_scheme(
            "session",
            SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new("headroom_session"))),
        );
    let mut paths = PathsBuilder::new();
    for operation in operations {
        for (name, schema) in operation.schemas.clone() {
            components = components.schema(name, schema);
        }
        let path = operation.line.path.clone();
        let item = PathItem::new(method(&operation.line.method), describe(&operation));
        paths = paths.path(path, item);
    }
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Headroom")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(
                    "Everything the pages show and do. Times are RFC 3339 in UTC; durations are text such as 10s, 5m, 1h.",
                ))
                .contact(Some(ContactBuilder::new().name(Some("Headroom")).build()))
                .license(Some(LicenseBuilder::new().name("Apache-2.0").build()))
                .build(),
        )
        .paths(paths.build())
        .components(Some(components.build()))
        .build()
}

fn method(method: &Method) -> HttpMethod {
    match method.as_str() {
        "POST" => HttpMethod::Post,
        "PUT" => HttpMethod::Put,
        "DELETE" => HttpMethod::Delete,
        _ => HttpMethod::Get,
    }
}

fn describe(operation: &Operation) -> OperationBuilder {
    let mut described = OperationBuilder::new()
        .operation_id(Some(operation.id()))
        .summary(Some(operation.summary))
        .tag(operation.tag());
    if let Access::Needs(role) = operation.line.access {
        described = described
            .description(Some(format!("Needs the role {role}.")))
            .security(SecurityRequirement::new("token", [role.to_string()]))
            .security(SecurityRequirement::new("session", [role.to_string()]));
    }
    for name in operation.path_params() {
        described = described.parameter(path_param(name));
    }
    for param in operation.params.clone() {
        described = described.parameter(param);
    }
    if let Some((schema, kinds)) = &operation.takes {
        let mut body = RequestBodyBuilder::new().required(Some(Required::True));
        for kind in *kinds {
            body = body.content(*kind, content(schema));
        }
        described = described.request_body(Some(body.build()));
    }
    let mut good = ResponseBuilder::new().description("Done.");
    if let Some(schema) = &operation.gives.body {
        for kind in operation.gives.kinds {
            good = good.content(*kind, content(schema));
        }
    }
    described
        .response(operation.gives.status.to_string(), good.build())
        .response("default", problem())
}

fn path_param(name: &str) -> Parameter {
    let kind = if name == "name" {
        Type::String
    } else {
        Type::Integer
    };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .schema(Some(
            ObjectBuilder::new().schema_type(SchemaType::new(kind)),
        ))
        .build()
}

fn problem() -> Response {
    let schema: RefOr<Schema> = Ref::from_schema_name(Problem::name()).into();
    ResponseBuilder::new()
        .description("Refused, with the reason.")
        .content("application/problem+json", content(&schema))
        .build()
}

fn content(schema: &RefOr<Schema>) -> Content {
    Content::new(Some(schema.clone()))
}
