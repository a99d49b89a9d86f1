package org.harpy.launch;

/** Writes one JSON object. Hadoop's clusters differ in the JSON library they carry; this needs none. */
final class Json {
  private final StringBuilder text = new StringBuilder("{");

  Json put(String name, Object value) {
    if (text.length() > 1) {
      text.append(',');
    }
    quote(name, text);
    text.append(':');
    append(value);
    return this;
  }

  /** Puts as much of the end of a text as keeps the whole object below so many characters. */
  Json putEndOf(String name, String value, int longest) {
    int room = longest - text.length() - name.length() - 8;
    String end = value;
    for (StringBuilder quoted = quoted(end); quoted.length() > room; quoted = quoted(end)) {
      end = end.substring(end.length() - end.length() / 2);
      if (end.isEmpty()) {
        break;
      }
    }
    return put(name, end);
  }

  private static StringBuilder quoted(String value) {
    StringBuilder out = new StringBuilder();
    quote(value, out);
    return out;
  }

  private void append(Object value) {
    if (value == null) {
      text.append("null");
    } else if (value instanceof Float || value instanceof Double) {
      double number = ((Number) value).doubleValue();
      text.append(Double.isFinite(number) ? String.valueOf(number) : "null");
    } else if (value instanceof Number || value instanceof Boolean || value instanceof Json) {
      text.append(value);
    } else if (value instanceof Iterable) {
      text.append('[');
      String separator = "";
      for (Object item : (Iterable<?>) value) {
        text.append(separator);
        append(item);
        separator = ",";
      }
      text.append(']');
    } else {
      quote(value.toString(), text);
    }
  }

  private static void quote(String value, StringBuilder out) {
    out.append('"');
    for (int i = 0; i < value.length(); i++) {
      char c = value.charAt(i);
      if (c == '"' || c == '\\') {
        out.append('\\').append(c);
      } else if (c < 0x20 || c > 0x7e) {
        out.append(String.format("\\u%04x", (int) c));
      } else {
        out.append(c);
      }
    }
    out.append('"');
  }

  @Override
  public String toString() {
    return text + "}";
  }
}
