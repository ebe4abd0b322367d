//! One route of the API together with its description.

use actix_web::dev::Handler;
use actix_web::http::Method;
use actix_web::{FromRequest, Responder};
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{Ref, RefOr, Required, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::web::api::ROOT;
use crate::web::auth::Access;
use crate::web::routes::{self, Line};

/// A schema under its name.
pub type Named = (String, RefOr<Schema>);

/// What an operation gives back.
pub struct Gives {
    /// HTTP status.
    pub status: u16,
    /// The body; none for no body.
    pub body: Option<RefOr<Schema>>,
    /// The body's media types.
    pub kinds: &'static [&'static str],
}

/// A route of the API and what its description says of it.
pub struct Operation {
    /// The route.
    pub line: Line,
    /// What it does, in a sentence.
    pub summary: &'static str,
    /// Parameters of the query.
    pub params: Vec<Parameter>,
    /// What it takes as a body, and in which media types.
    pub takes: Option<(RefOr<Schema>, &'static [&'static str])>,
    /// What it gives back when all is well.
    pub gives: Gives,
    /// The schemas that the above refer to.
    pub schemas: Vec<Named>,
}

const JSON: &[&str] = &["application/json"];

/// Reading.
pub fn get<F, Args>(path: &str, access: Access, summary: &'static str, handler: F) -> Operation
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    Operation::new(routes::get(&full(path), access, handler), summary)
}

/// Making or doing.
pub fn post<F, Args>(path: &str, access: Access, summary: &'static str, handler: F) -> Operation
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    Operation::new(routes::post(&full(path), access, handler), summary)
}

/// Replacing.
pub fn put<F, Args>(path: &str, access: Access, summary: &'static str, handler: F) -> Operation
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    Operation::new(routes::put(&full(path), access, handler), summary)
}

/// Removing.
pub fn delete<F, Args>(path: &str, access: Access, summary: &'static str, handler: F) -> Operation
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    Operation::new(routes::delete(&full(path), access, handler), summary)
}

fn full(path: &str) -> String {
    format!("{ROOT}{path}")
}

impl Operation {
    fn new(line: Line, summary: &'static str) -> Self {
        Self {
            line,
            summary,
            params: Vec::new(),
            takes: None,
            gives: Gives {
                status: 204,
                body: None,
                kinds: JSON,
            },
            schemas: Vec::new(),
        }
    }

    /// A parameter of the query that may be left out.
    #[must_use]
    pub fn param(self, name: &str, what: &str) -> Self {
        self.add_param(name, what, Type::String, Required::False)
    }

    /// A parameter of the query that must be there.
    #[must_use]
    pub fn required_param(self, name: &str, what: &str) -> Self {
        self.add_param(name, what, Type::String, Required::True)
    }

    /// A switch in the query.
    #[must_use]
    pub fn switch(self, name: &str, what: &str) -> Self {
        self.add_param(name, what, Type::Boolean, Required::False)
    }

    fn add_param(mut self, name: &str, what: &str, kind: Type, required: Required) -> Self {
        self.params.push(
            ParameterBuilder::new()
                .name(name)
                .parameter_in(ParameterIn::Query)
                .required(required)
                .description(Some(what))
                .schema(Some(
                    ObjectBuilder::new().schema_type(SchemaType::new(kind)),
                ))
                .build(),
        );
        self
    }

    /// It takes a body of this shape.
    #[must_use]
    pub fn takes<T: ToSchema>(mut self) -> Self {
        self.takes = Some((self.reference::<T>(), JSON));
        self
    }

    /// It takes a body of this shape in one of these media types.
    #[must_use]
    pub fn takes_as<T: ToSchema>(mut self, kinds: &'static [&'static str]) -> Self {
        self.takes = Some((self.reference::<T>(), kinds));
        self
    }

    /// It gives a body of this shape.
    #[must_use]
    pub fn gives<T: ToSchema>(mut self, status: u16) -> Self {
        self.gives.status = status;
        self.gives.body = Some(self.reference::<T>());
        self
    }

    /// It gives a body of this shape in one of these media types.
    #[must_use]
    pub fn gives_as<T: ToSchema>(self, status: u16, kinds: &'static [&'static str]) -> Self {
        let mut it = self.gives::<T>(status);
        it.gives.kinds = kinds;
        it
    }

    /// It gives a plain list of this shape.
    #[must_use]
    pub fn gives_list<T: ToSchema>(mut self) -> Self {
        self.gives.status = 200;
        let item = self.reference::<T>();
        self.gives.body = Some(ArrayBuilder::new().items(item).into());
        self
    }

    /// It gives a list of this shape in pieces.
    #[must_use]
    pub fn gives_page<T: ToSchema>(mut self) -> Self {
        let item = self.reference::<T>();
        let next = ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
            .description(Some("What to give as `cursor` for the next ones."));
        let page = ObjectBuilder::new()
            .property("items", ArrayBuilder::new().items(item))
            .required("items")
            .property("next", next)
            .required("next");
        self.gives.status = 200;
        self.gives.body = Some(page.into());
        self.add_param(
            "limit",
            "How many, 1 to 1000; 100 by default.",
            Type::Integer,
            Required::False,
        )
        .param("cursor", "Where to go on: `next` of the page before.")
    }

    /// What stands between braces in its path.
    pub fn path_params(&self) -> impl Iterator<Item = &str> {
        self.line
            .path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    }

    /// Its name among all operations: `get_clusters_name`.
    pub fn id(&self) -> String {
        let path = self.line.path.trim_start_matches(ROOT);
        let words = path
            .split(['/', '-', '.'])
            .map(|part| part.trim_matches(['{', '}']))
            .filter(|part| !part.is_empty());
        let method = self.line.method.as_str().to_lowercase();
        std::iter::once(method.as_str())
            .chain(words)
            .collect::<Vec<_>>()
            .join("_")
    }

    /// What it is about: the first part of its path.
    pub fn tag(&self) -> &str {
        let path = self.line.path.trim_start_matches(ROOT);
        path.split('/').nth(1).unwrap_or_default()
    }

    /// Whether it changes anything.
    pub fn changes(&self) -> bool {
        self.line.method != Method::GET
    }

    fn reference<T: ToSchema>(&mut self) -> RefOr<Schema> {
        self.schemas
            .push((T::name().into_owned(), <T as PartialSchema>::schema()));
        T::schemas(&mut self.schemas);
        Ref::from_schema_name(T::name()).into()
    }
}
