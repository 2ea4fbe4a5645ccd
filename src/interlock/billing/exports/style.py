"""How a printed invoice looks. A4, black on white; tables break between rows and repeat their heads."""

CSS = """
@page { size: A4; margin: 18mm 16mm 18mm 18mm; @bottom-right { content: counter(page) " / " counter(pages); } }
* { box-sizing: border-box; }
html { font: 10pt/1.45 "Helvetica Neue", Helvetica, Arial, "Liberation Sans", sans-serif; color: #16202c; }
body { margin: 0; background: #eef1f4; }
main { position: relative; max-width: 210mm; min-height: 297mm; margin: 8mm auto; padding: 18mm 16mm 18mm 18mm;
  background: #fff; box-shadow: 0 1px 6px rgba(20, 30, 45, .18); overflow: hidden; }
header { display: flex; justify-content: space-between; align-items: flex-start; gap: 10mm;
  border-bottom: 2px solid #1d4f91; padding-bottom: 5mm; }
h1 { font-size: 20pt; font-weight: 600; margin: 0; letter-spacing: -.2pt; color: #1d4f91; }
h2 { font-size: 8pt; font-weight: 600; text-transform: uppercase; letter-spacing: .6pt; color: #66727f;
  margin: 0 0 1mm; }
dl.facts { display: grid; grid-template-columns: auto auto; gap: .6mm 5mm; margin: 1mm 0 0; }
dt { color: #66727f; } dd { margin: 0; text-align: right; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.parties { display: grid; grid-template-columns: 1fr 1fr; gap: 10mm; margin: 6mm 0 7mm; overflow-wrap: anywhere; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
thead { display: table-header-group; }
th { font-size: 8pt; font-weight: 600; text-align: left; color: #66727f; border-bottom: 1px solid #16202c;
  padding: 0 2mm 1.2mm; }
td { padding: 1.3mm 2mm; border-bottom: 1px solid #dfe4e9; vertical-align: top; overflow-wrap: anywhere; }
tr { break-inside: avoid; }
th:first-child, td:first-child { padding-left: 0; } th:last-child, td:last-child { padding-right: 0; }
.r { text-align: right; white-space: nowrap; } th.r { text-align: right; }
.a { width: 26mm; text-align: right; white-space: nowrap; } th.a { text-align: right; }
.n { width: 9mm; color: #66727f; }
.u { min-width: 17mm; max-width: 32mm; }
.group td { background: #f3f6f9; font-weight: 600; padding-left: 2mm; }
.small { font-size: 8pt; color: #66727f; overflow-wrap: anywhere; }
table.totals { width: auto; min-width: 84mm; margin: 5mm 0 6mm auto; break-inside: avoid; }
.totals td { border: 0; padding: .7mm 0 .7mm 8mm; }
.totals td:first-child { padding-left: 0; }
.totals .total td { border-top: 1px solid #16202c; font-weight: 600; padding-top: 1.6mm; }
.totals .due td { border-top: 2px solid #1d4f91; font-size: 12pt; font-weight: 600; padding-top: 2mm; color: #1d4f91; }
.remark { font-size: 8.5pt; color: #44505c; margin: 0 0 1.5mm; }
.credit { margin-top: 9mm; break-inside: avoid; } .credit p { margin: 0 0 2mm; overflow-wrap: anywhere; }
footer { margin-top: 6mm; padding-top: 3mm; border-top: 1px solid #dfe4e9; overflow-wrap: anywhere; }
footer .small { margin-top: 2mm; }
.mark { position: absolute; top: 105mm; left: 0; right: 0; text-align: center; transform: rotate(-24deg);
  font-size: 76pt; font-weight: 700; letter-spacing: 6pt; color: rgba(190, 40, 40, .11); pointer-events: none; }
@media print { body { background: none; }
  main { margin: 0; padding: 0; max-width: none; min-height: 0; box-shadow: none; overflow: visible; } }
"""
