/** The page's results as CSV, with the columns of `classify --format csv --top-k 5`. */

import { TOP_K } from "./service.js";

/** A row for each card that is done. The mark at the start has Excel read it as UTF-8. */
export function renderCsv(cards) {
  const done = cards.filter((card) => card.predictions || card.refusal);
  return "\ufeff" + [header(), ...done.map(row)].map(renderRow).join("");
}

function header() {
  const columns = ["name", "error", "message"];
  for (let rank = 1; rank <= TOP_K; rank += 1) {
    const number = rank > 1 ? `_${rank}` : "";
    columns.push(`class_id${number}`, `class_name${number}`, `probability${number}`);
  }
  return columns;
}

function row(card) {
  if (!card.predictions) {
    return [card.photo.name, card.refusal.code, card.explanation, ...Array(3 * TOP_K).fill("")];
  }
  const cells = card.predictions.flatMap((each) => [
    each.class_id,
    each.class_name,
    String(Number(each.probability.toPrecision(6))),
  ]);
  return [card.photo.name, "", "", ...cells];
}

function renderRow(cells) {
  return cells.map(quote).join(",") + "\n";
}

function quote(cell) {
  return /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
}
