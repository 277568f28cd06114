/** Text in columns: each as wide as its widest cell, the last one ragged. */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const widths: number[] = []
  for (const row of rows) row.forEach((cell, column) => (widths[column] = Math.max(widths[column] ?? 0, cell.length)))
  const line = (row: readonly string[]) =>
    row.map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths[column]!))).join('  ')
  const [head, ...rest] = rows.map(line)
  return [head, widths.map(width => '─'.repeat(width)).join('  '), ...rest].join('\n')
}
