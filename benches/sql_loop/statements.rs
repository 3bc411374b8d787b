//! The statements that the sink `sql` sends for the table of the bench. A test of the sink compares them with its own.

pub struct Statements {
    /// Creates the table.
    pub create: &'static str,
    /// Finds the rows of a batch that the table has already.
    pub compare: &'static str,
    /// Inserts the rows of a batch, or updates those that differ.
    pub upsert: &'static str,
}

/// The columns of the table in the order in which the sink numbers them: the key, and the others by name.
pub const COLUMNS: [(&str, &str); 6] = [
    ("id", "bigint"),
    ("active", "boolean"),
    ("city", "text"),
    ("name", "text"),
    ("phone", "varchar(40)"),
    ("updated_at", "timestamptz"),
];

pub const SQLITE: Statements = Statements {
    create: r#"CREATE TABLE IF NOT EXISTS "items" (
  "id" INTEGER NOT NULL,
  "active" boolean,
  "city" text,
  "name" text,
  "phone" varchar(40),
  "updated_at" timestamptz,
  PRIMARY KEY ("id")
)"#,
    compare: r#"SELECT x.n FROM (SELECT json_extract(r.value, '$.c0') AS c0, json_extract(r.value, '$.c1') AS c1, json_extract(r.value, '$.c2') AS c2, json_extract(r.value, '$.c3') AS c3, json_extract(r.value, '$.c4') AS c4, json_extract(r.value, '$.c5') AS c5, r.key + 1 AS n FROM json_each(?1) AS r) AS x JOIN "items" AS t ON t."id" = x.c0 AND t."active" IS x.c1 COLLATE BINARY AND t."city" IS x.c2 COLLATE BINARY AND t."name" IS x.c3 COLLATE BINARY AND t."phone" IS x.c4 COLLATE BINARY AND t."updated_at" IS x.c5 COLLATE BINARY"#,
    upsert: r#"INSERT INTO "items" AS t ("id", "active", "city", "name", "phone", "updated_at") SELECT x.c0, x.c1, x.c2, x.c3, x.c4, x.c5 FROM (SELECT json_extract(r.value, '$.c0') AS c0, json_extract(r.value, '$.c1') AS c1, json_extract(r.value, '$.c2') AS c2, json_extract(r.value, '$.c3') AS c3, json_extract(r.value, '$.c4') AS c4, json_extract(r.value, '$.c5') AS c5, r.key + 1 AS n FROM json_each(?1) AS r) AS x WHERE true ON CONFLICT ("id") DO UPDATE SET "active" = excluded."active", "city" = excluded."city", "name" = excluded."name", "phone" = excluded."phone", "updated_at" = excluded."updated_at" WHERE t."active" IS NOT excluded."active" COLLATE BINARY OR t."city" IS NOT excluded."city" COLLATE BINARY OR t."name" IS NOT excluded."name" COLLATE BINARY OR t."phone" IS NOT excluded."phone" COLLATE BINARY OR t."updated_at" IS NOT excluded."updated_at" COLLATE BINARY"#,
};

pub const POSTGRES: Statements = Statements {
    create: r#"CREATE TABLE IF NOT EXISTS "items" (
  "id" bigint NOT NULL,
  "active" boolean,
  "city" text,
  "name" text,
  "phone" varchar(40),
  "updated_at" timestamptz,
  PRIMARY KEY ("id")
)"#,
    compare: r#"SELECT x.n FROM (SELECT r.c0::bigint AS c0, r.c1::boolean AS c1, r.c2::text AS c2, r.c3::text AS c3, r.c4::character varying AS c4, r.c5::timestamp with time zone AS c5, r.n FROM ROWS FROM (jsonb_to_recordset($1::jsonb) AS (c0 bigint, c1 boolean, c2 text, c3 text, c4 character varying(40), c5 timestamptz)) WITH ORDINALITY AS r(c0, c1, c2, c3, c4, c5, n)) AS x JOIN "items" AS t ON t."id" = x.c0 AND t."active" IS NOT DISTINCT FROM x.c1 AND t."city" COLLATE "C" IS NOT DISTINCT FROM x.c2 COLLATE "C" AND t."name" COLLATE "C" IS NOT DISTINCT FROM x.c3 COLLATE "C" AND t."phone" COLLATE "C" IS NOT DISTINCT FROM x.c4 COLLATE "C" AND t."updated_at" IS NOT DISTINCT FROM x.c5"#,
    upsert: r#"INSERT INTO "items" AS t ("id", "active", "city", "name", "phone", "updated_at") SELECT x.c0, x.c1, x.c2, x.c3, x.c4, x.c5 FROM (SELECT r.c0::bigint AS c0, r.c1::boolean AS c1, r.c2::text AS c2, r.c3::text AS c3, r.c4::character varying AS c4, r.c5::timestamp with time zone AS c5, r.n FROM ROWS FROM (jsonb_to_recordset($1::jsonb) AS (c0 bigint, c1 boolean, c2 text, c3 text, c4 character varying(40), c5 timestamptz)) WITH ORDINALITY AS r(c0, c1, c2, c3, c4, c5, n)) AS x WHERE true ON CONFLICT ("id") DO UPDATE SET "active" = excluded."active", "city" = excluded."city", "name" = excluded."name", "phone" = excluded."phone", "updated_at" = excluded."updated_at" WHERE t."active" IS DISTINCT FROM excluded."active" OR t."city" COLLATE "C" IS DISTINCT FROM excluded."city" COLLATE "C" OR t."name" COLLATE "C" IS DISTINCT FROM excluded."name" COLLATE "C" OR t."phone" COLLATE "C" IS DISTINCT FROM excluded."phone" COLLATE "C" OR t."updated_at" IS DISTINCT FROM excluded."updated_at""#,
};
