//! Writes the calls: the few Java objects that are ever sent.

/// Names an exported object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectId {
    pub(super) number: i64,
    pub(super) space: Space,
}

/// Where an [`ObjectId`] comes from: Java's `UID`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Space {
    pub(super) unique: i32,
    pub(super) time: i64,
    pub(super) count: i16,
}

impl ObjectId {
    /// The registry of every JVM.
    pub(super) const REGISTRY: Self = Self::well_known(0);
    /// The collector of objects that nobody leases, of every JVM.
    pub(super) const LEASES: Self = Self::well_known(2);

    const fn well_known(number: i64) -> Self {
        Self {
            number,
            space: Space {
                unique: 0,
                time: 0,
                count: 0,
            },
        }
    }
}

/// Names a method: its place in a stub's table, or -1 and the hash of its name and types.
#[derive(Debug, Clone, Copy)]
pub struct Method {
    operation: i32,
    /// The first eight bytes, little-endian, of SHA-1 over `name(types)type` in Java's UTF-8.
    hash: i64,
}

impl Method {
    /// `Registry.lookup(String)`.
    pub(super) const LOOKUP: Self = Self::at(2, 4_905_912_898_345_647_071);
    /// `DGC.clean(ObjID[], long, VMID, boolean)`.
    pub(super) const CLEAN: Self = Self::at(0, -669_196_253_586_618_813);
    /// `DGC.dirty(ObjID[], long, Lease)`.
    pub(super) const DIRTY: Self = Self::at(1, -669_196_253_586_618_813);
    /// `RMIServer.newClient(Object)`.
    pub(super) const NEW_CLIENT: Self = Self::at(-1, -1_089_742_558_549_201_240);
    /// `RMIConnection.getAttribute(ObjectName, String, Subject)`.
    pub(super) const GET_ATTRIBUTE: Self = Self::at(-1, -1_089_783_104_982_388_203);
    /// `RMIConnection.getAttributes(ObjectName, String[], Subject)`.
    pub(super) const GET_ATTRIBUTES: Self = Self::at(-1, 6_285_293_806_596_348_999);
    /// `RMIConnection.queryNames(ObjectName, MarshalledObject, Subject)`.
    pub(super) const QUERY_NAMES: Self = Self::at(-1, 9_152_567_528_369_059_802);
    /// `RMIConnection.getMBeanInfo(ObjectName, Subject)`.
    pub(super) const GET_MBEAN_INFO: Self = Self::at(-1, -7_404_813_916_326_233_354);
    /// `RMIConnection.close()`.
    pub(super) const CLOSE: Self = Self::at(-1, -4_742_752_445_160_157_748);

    const fn at(operation: i32, hash: i64) -> Self {
        Self { operation, hash }
    }
}

/// One call, ready to be sent. Every class is described each time: handles would save a few bytes and cost state.
#[derive(Debug)]
pub struct Call {
    bytes: Vec<u8>,
}

impl Call {
    pub(super) fn new(object: ObjectId, method: Method) -> Self {
        let mut call = Self {
            bytes: vec![0x50, 0xac, 0xed, 0x00, 0x05, 0x77, 34],
        };
        call.long(object.number);
        call.space(object.space);
        call.int(method.operation);
        call.long(method.hash);
        call
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// `null`.
    pub(super) fn null(mut self) -> Self {
        self.bytes.push(0x70);
        self
    }

    /// A `String`.
    pub(super) fn string(mut self, text: &str) -> Self {
        self.text(text);
        self
    }

    /// A `String[]`.
    pub(super) fn strings<'a>(mut self, texts: impl IntoIterator<Item = &'a str>) -> Self {
        self.bytes.push(0x75);
        self.class("[Ljava.lang.String;", -5_921_575_005_990_323_385, 2, &[]);
        let at = self.bytes.len();
        self.int(0);
        let mut count = 0_i32;
        for text in texts {
            self.text(text);
            count = count.saturating_add(1);
        }
        if let Some(place) = self.bytes.get_mut(at..at + 4) {
            place.copy_from_slice(&count.to_be_bytes());
        }
        self
    }

    /// A `javax.management.ObjectName`.
    pub(super) fn object_name(mut self, name: &str) -> Self {
        self.bytes.push(0x73);
        let class = "javax.management.ObjectName";
        self.class(class, 1_081_892_073_854_801_359, 3, &[]);
        self.text(name);
        self.bytes.push(0x78);
        self
    }

    /// `ObjID[]` with one object, and the sequence number that follows it in calls about leases.
    pub(super) fn leased(mut self, object: ObjectId, sequence: i64) -> Self {
        self.bytes.push(0x75);
        let class = "[Ljava.rmi.server.ObjID;";
        self.class(class, -8_713_620_060_265_225_090, 2, &[]);
        self.int(1);
        self.bytes.push(0x73);
        self.class(
            "java.rmi.server.ObjID",
            -6_386_392_263_968_365_220,
            2,
            &[('J', "objNum", ""), ('L', "space", "Ljava/rmi/server/UID;")],
        );
        self.long(object.number);
        self.uid(object.space);
        self.bytes.extend([0x77, 8]);
        self.long(sequence);
        self
    }

    /// A `Lease` for so many milliseconds.
    pub(super) fn lease(mut self, value_ms: i64, holder: &Holder) -> Self {
        self.bytes.push(0x73);
        self.class(
            "java.rmi.dgc.Lease",
            -5_713_411_624_328_831_948,
            2,
            &[('J', "value", ""), ('L', "vmid", "Ljava/rmi/dgc/VMID;")],
        );
        self.long(value_ms);
        self.holder(holder)
    }

    /// A `VMID`.
    pub(super) fn holder(mut self, holder: &Holder) -> Self {
        self.bytes.push(0x73);
        self.class(
            "java.rmi.dgc.VMID",
            -538_642_295_484_486_218,
            2,
            &[('[', "addr", "[B"), ('L', "uid", "Ljava/rmi/server/UID;")],
        );
        self.bytes.push(0x75);
        self.class("[B", -5_984_413_125_824_719_648, 2, &[]);
        self.int(8);
        self.bytes.extend(holder.address);
        self.uid(holder.space);
        self
    }

    /// A `boolean`, bare.
    pub(super) fn flag(mut self, flag: bool) -> Self {
        self.bytes.extend([0x77, 1, u8::from(flag)]);
        self
    }

    fn uid(&mut self, space: Space) {
        self.bytes.push(0x73);
        self.class(
            "java.rmi.server.UID",
            1_086_053_664_494_604_050,
            2,
            &[('S', "count", ""), ('J', "time", ""), ('I', "unique", "")],
        );
        self.short(space.count);
        self.long(space.time);
        self.int(space.unique);
    }

    /// As an `ObjID` is written bare: `UID.write`.
    fn space(&mut self, space: Space) {
        self.int(space.unique);
        self.long(space.time);
        self.short(space.count);
    }

    /// A class: name, version, flags, fields (with their types where they are objects), and no place to fetch its code from.
    fn class(&mut self, name: &str, version: i64, flags: u8, fields: &[(char, &str, &str)]) {
        self.bytes.push(0x72);
        self.utf(name);
        self.long(version);
        self.bytes.push(flags);
        self.short(i16::try_from(fields.len()).unwrap_or(i16::MAX));
        for (code, name, class) in fields {
            self.bytes.push(u8::try_from(*code).unwrap_or(b'L'));
            self.utf(name);
            if !class.is_empty() {
                self.text(class);
            }
        }
        // The codebase, the end of what annotates the class, and no ancestor.
        self.bytes.extend([0x70, 0x78, 0x70]);
    }

    fn text(&mut self, text: &str) {
        let bytes = encode(text);
        if let Ok(length) = u16::try_from(bytes.len()) {
            self.bytes.push(0x74);
            self.bytes.extend(length.to_be_bytes());
        } else {
            self.bytes.push(0x7c);
            let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            self.bytes.extend(length.to_be_bytes());
        }
        self.bytes.extend(bytes);
    }

    /// For the names that stand here in the code: all are short and ASCII.
    fn utf(&mut self, text: &str) {
        let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
        self.bytes.extend(length.to_be_bytes());
        self.bytes.extend(text.as_bytes());
    }

    fn short(&mut self, value: i16) {
        self.bytes.extend(value.to_be_bytes());
    }

    fn int(&mut self, value: i32) {
        self.bytes.extend(value.to_be_bytes());
    }

    fn long(&mut self, value: i64) {
        self.bytes.extend(value.to_be_bytes());
    }
}

/// Who holds a lease: this client, as a JVM would name itself.
#[derive(Debug, Clone, Copy)]
pub struct Holder {
    pub(super) address: [u8; 8],
    pub(super) space: Space,
}

impl Holder {
    /// A name that nobody else has.
    pub(super) fn random() -> Self {
        Self {
            address: rand::random(),
            space: Space {
                unique: rand::random(),
                time: rand::random(),
                count: rand::random(),
            },
        }
    }
}

/// Java's own UTF-8.
fn encode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for unit in text.encode_utf16() {
        let [high, low] = unit.to_be_bytes();
        match unit {
            0x01..=0x7f => bytes.push(low),
            0 | 0x80..=0x7ff => bytes.extend([0xc0 | high << 2 | low >> 6, 0x80 | low & 0x3f]),
            _ => bytes.extend([
                0xe0 | high >> 4,
                0x80 | (high << 2 & 0x3c) | low >> 6,
                0x80 | low & 0x3f,
            ]),
        }
    }
    bytes
}
