//! Descriptions of classes: they come before the first object of each.

use tokio::io::AsyncRead;

use super::super::failure::Failure;
use super::super::graph::{Class, Field, Node};
use super::{
    CLASS_DESC, MAX_ANCESTORS, NULL, PROXY_DESC, REFERENCE, Read, Reader, SERIALIZABLE, unexpected,
};

impl<R: AsyncRead + Unpin + Send> Reader<'_, R> {
    pub(super) async fn class_desc(&mut self) -> Read<Option<usize>> {
        let tag = self.u8().await?;
        self.class_from(tag).await
    }

    /// A description of a class and of those it comes from, one after the other instead of one in the other.
    pub(super) async fn class_from(&mut self, tag: u8) -> Read<Option<usize>> {
        let mut tag = tag;
        let mut first = None;
        let mut child: Option<usize> = None;
        for _ in 0..=MAX_ANCESTORS {
            let (class, ended) = match tag {
                NULL => (None, true),
                REFERENCE => (Some(self.class_reference().await?), true),
                CLASS_DESC => (Some(self.described().await?), false),
                PROXY_DESC => (Some(self.proxy().await?), false),
                other => return Err(unexpected(other, "a class")),
            };
            if let Some(child) = child.and_then(|child| self.graph.class_mut(child)) {
                child.parent = class;
            }
            first = first.or(class);
            if ended {
                return Ok(first);
            }
            child = class;
            tag = self.u8().await?;
        }
        Err(Failure::garbled(format!(
            "a class has more than {MAX_ANCESTORS} ancestors"
        )))
    }

    async fn described(&mut self) -> Read<usize> {
        let name = self.utf().await?;
        self.fixed::<8>().await?;
        let place = self.place()?;
        let flags = self.u8().await?;
        let count = usize::from(u16::from_be_bytes(self.fixed().await?));
        self.spend(count)?;
        let mut fields = Vec::new();
        for _ in 0..count {
            let code = self.u8().await?;
            let name = self.utf().await?;
            if matches!(code, b'L' | b'[') {
                self.text_reference().await?;
            }
            fields.push(Field { code, name });
        }
        let class = Class {
            name,
            flags,
            fields: fields.into(),
            parent: None,
        };
        self.graph.fill(place, Node::Class(class));
        // Where its code could be fetched from: nobody wants to know.
        self.extras().await?;
        Ok(place)
    }

    async fn proxy(&mut self) -> Read<usize> {
        let place = self.place()?;
        let count = self.length().await?;
        self.spend(count)?;
        for _ in 0..count {
            self.utf().await?;
        }
        let class = Class {
            name: "a proxy".into(),
            flags: SERIALIZABLE,
            fields: [].into(),
            parent: None,
        };
        self.graph.fill(place, Node::Class(class));
        self.extras().await?;
        Ok(place)
    }

    /// A class and those it comes from, the topmost first.
    pub(super) fn ancestry(&self, class: usize) -> Read<Vec<usize>> {
        let mut line = vec![class];
        let mut at = class;
        while let Some(parent) = self.graph.class(at).and_then(|class| class.parent) {
            if line.len() >= MAX_ANCESTORS {
                return Err(Failure::garbled(format!(
                    "a class has more than {MAX_ANCESTORS} ancestors"
                )));
            }
            line.push(parent);
            at = parent;
        }
        line.reverse();
        Ok(line)
    }

    async fn class_reference(&mut self) -> Read<usize> {
        let place = self.reference().await?;
        match self.graph.node(place) {
            Some(Node::Class(_)) => Ok(place),
            _ => Err(Failure::garbled("a class is expected where there is none")),
        }
    }
}
