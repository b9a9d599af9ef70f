// What the pages need of kept libraries; "make site-vendor" bundles it into static/vendor.js.
export {
  createTable,
  getCoreRowModel,
  getFilteredRowModel,
  getSortedRowModel,
} from "@tanstack/table-core";
export { plot, cell, dot, link, ruleX, ruleY, text, pointer } from "@observablehq/plot";
