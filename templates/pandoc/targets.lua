-- What pandoc's own writers leave out: text alternatives for equations in print (PDF/UA asks for
-- them), and boxes, which are Typst functions in print and classes on the page.

local print_target = FORMAT == "typst"

local function literal(text)
  return '"' .. text:gsub("\\", "\\\\"):gsub('"', '\\"'):gsub("%s+", " ") .. '"'
end

local function equation(math, alt)
  if not print_target then
    if math.mathtype == "InlineMath" then
      return math
    end
    -- A long equation scrolls by itself on a narrow screen; what scrolls must take the keyboard's focus.
    -- (As a list: Lua would give the keys of a table in another order each time.)
    local attributes = { { "tabindex", "0" }, { "role", "group" }, { "aria-label", "Equation" } }
    return pandoc.Span({ math }, pandoc.Attr("", { "equation" }, attributes))
  end
  local source = pandoc.write(pandoc.Pandoc({ pandoc.Plain({ math }) }), "typst"):gsub("%s+$", "")
  local block = math.mathtype == "DisplayMath" and "true" or "false"
  return pandoc.RawInline(
    "typst",
    "#math.equation(block: " .. block .. ", alt: " .. literal(alt) .. ", " .. source .. ")"
  )
end

-- [$$formula$$]{alt="spoken"} gives a formula its text alternative.
local function spoken(span)
  local alt = span.attributes.alt
  if alt and #span.content == 1 and span.content[1].t == "Math" then
    return equation(span.content[1], alt)
  end
end

-- An inline formula has none, and is read out as it is typed.
local function unspoken(math)
  return math.mathtype == "InlineMath" and equation(math, math.text) or nil
end

-- ::: {.fold summary="..."} is folded on the page; in print such parts stand in the appendix.
local function fold(div)
  local summary = div.attributes.summary
  if not summary then
    return nil
  end
  div.attributes.summary = nil
  local id = div.identifier ~= "" and (' id="' .. div.identifier .. '"') or ""
  local head = summary:gsub("&", "&amp;"):gsub("<", "&lt;")
  local blocks = pandoc.Blocks({ pandoc.RawBlock("html", '<details class="fold"' .. id .. "><summary>" .. head .. "</summary>") })
  blocks:extend(div.content)
  blocks:insert(pandoc.RawBlock("html", "</details>"))
  return blocks
end

-- [words]{.badge .kind} is a verdict.
local function badge(span)
  if print_target and span.classes:includes("badge") then
    local words = pandoc.utils.stringify(span.content)
    return pandoc.RawInline("typst", "#outcome(" .. literal(span.classes[2]) .. ", " .. literal(words) .. ")")
  end
end

-- ::: {.box typst="name" kind="..."} becomes #name("...")[...] in print.
local function box(div)
  local name = div.attributes.typst
  if not name then
    return nil
  end
  local kind = div.attributes.kind or ""
  div.attributes.typst = nil
  div.attributes.kind = nil
  if not print_target then
    if kind ~= "" then
      div.classes:insert(kind)
    end
    return div
  end
  local label = div.identifier ~= "" and (" <" .. div.identifier .. ">") or ""
  local blocks = pandoc.Blocks({ pandoc.RawBlock("typst", "#" .. name .. "(" .. literal(kind) .. ")[") })
  blocks:extend(div.content)
  blocks:insert(pandoc.RawBlock("typst", "]" .. label))
  return blocks
end

return { { Span = spoken }, { Math = unspoken }, { Span = badge }, { Div = fold }, { Div = box } }
