// The footer of a Parquet file, as parquet.apache.org defines it, without what tells where things are beside the row groups:
// indexes of pages, Bloom filters, keys. A reader leaves out the fields that are not named here.

struct Nothing {}
struct TimeUnit { 1: optional Nothing MILLIS; 2: optional Nothing MICROS; 3: optional Nothing NANOS }
struct TimestampType { 1: required bool isAdjustedToUTC; 2: required TimeUnit unit }
struct IntType { 1: required byte bitWidth; 2: required bool isSigned }
struct LogicalType {
  1: optional Nothing STRING
  6: optional Nothing DATE
  8: optional TimestampType TIMESTAMP
  10: optional IntType INTEGER
}
struct SchemaElement {
  1: optional i32 type
  2: optional i32 type_length
  3: optional i32 repetition_type
  4: required string name
  5: optional i32 num_children
  6: optional i32 converted_type
  7: optional i32 scale
  8: optional i32 precision
  9: optional i32 field_id
  10: optional LogicalType logicalType
}
struct Statistics {
  3: optional i64 null_count
  4: optional i64 distinct_count
  5: optional binary max_value
  6: optional binary min_value
  7: optional bool is_max_value_exact
  8: optional bool is_min_value_exact
}
struct PageEncodingStats { 1: required i32 page_type; 2: required i32 encoding; 3: required i32 count }
struct KeyValue { 1: required string key; 2: optional string value }
struct ColumnMetaData {
  1: required i32 type
  2: required list<i32> encodings
  3: required list<string> path_in_schema
  4: required i32 codec
  5: required i64 num_values
  6: required i64 total_uncompressed_size
  7: required i64 total_compressed_size
  9: required i64 data_page_offset
  10: optional i64 index_page_offset
  11: optional i64 dictionary_page_offset
  12: optional Statistics statistics
  13: optional list<PageEncodingStats> encoding_stats
}
struct ColumnChunk { 2: required i64 file_offset; 3: optional ColumnMetaData meta_data }
struct RowGroup {
  1: required list<ColumnChunk> columns
  2: required i64 total_byte_size
  3: required i64 num_rows
  5: optional i64 file_offset
  6: optional i64 total_compressed_size
}
struct ColumnOrder { 1: optional Nothing TYPE_ORDER }
struct FileMetaData {
  1: required i32 version
  2: required list<SchemaElement> schema
  3: required i64 num_rows
  4: required list<RowGroup> row_groups
  5: optional list<KeyValue> key_value_metadata
  6: optional string created_by
  7: optional list<ColumnOrder> column_orders
}
