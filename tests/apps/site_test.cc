// What httpd serves: decoding of paths, what lies outside the root, built-in pages.
#include "apps/site.h"

#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <fstream>

namespace sluice::apps {
namespace {

namespace fs = std::filesystem;

std::string text_of(const Response& response) {
  std::string text;
  std::array<char, 4096> scratch;
  while (text.size() < response.body->size()) {
    const std::string_view part = response.body->at(text.size(), scratch);
    if (part.empty()) break;
    text += part;
  }
  return text;
}

TEST(PercentDecode, Table) {
  struct Row {
    std::string_view in;
    std::optional<std::string> want;
  };
  const std::array rows = {
      Row{"", ""},
      Row{"/plain", "/plain"},
      Row{"/a%20b", "/a b"},
      Row{"%41%6a%6A", "Ajj"},
      Row{"%2e%2E%2f", "../"},
      Row{"100%25", "100%"},
      Row{"%C3%BC", "\xC3\xBC"},
      Row{"a+b", "a+b"},    // a plus stands for itself in a path
      Row{"%2541", "%41"},  // once only
      Row{"%", {}},         // cut off
      Row{"%4", {}},
      Row{"a%", {}},
      Row{"%zz", {}},
      Row{"%4g", {}},
      Row{"%-1", {}},
      Row{"%+1", {}},
      Row{"% 1", {}},
      Row{"%00", {}},  // a NUL would end the name early
  };
  for (const Row& row : rows) EXPECT_EQ(percent_decode(row.in), row.want) << row.in;
}

TEST(ContentType, ByExtension) {
  EXPECT_TRUE(content_type("a/b.html").starts_with("text/html"));
  EXPECT_EQ(content_type("b.json"), "application/json");
  EXPECT_EQ(content_type("archive.tar.gz"), "application/gzip");
  EXPECT_EQ(content_type("none"), "application/octet-stream");
  EXPECT_EQ(content_type(".html"), "application/octet-stream");  // a name, not an extension
}

// A root with files, beside a file that must not be served.
class SiteTest : public testing::Test {
 protected:
  SiteTest() {
    std::string pattern = (fs::temp_directory_path() / "site_test_XXXXXX").string();
    base_ = mkdtemp(pattern.data());
    root_ = base_ / "root";
    fs::create_directories(root_ / "sub");
    fs::create_directories(root_ / "with space");
    fs::create_directories(base_ / "rootlike");
    write(base_ / "outside", "not for you");
    write(base_ / "rootlike" / "file", "not for you");
    write(root_ / "page.html", "a page");
    write(root_ / "empty", "");
    write(root_ / "sub" / "index.html", "an index");
    write(root_ / "with space" / "<b>&", "odd");
    fs::create_symlink(base_ / "outside", root_ / "way_out");
    fs::create_symlink(root_ / "page.html", root_ / "way_in");
  }
  ~SiteTest() override { fs::remove_all(base_); }
  static void write(const fs::path& path, const char* text) { std::ofstream(path) << text; }

  fs::path base_, root_;
  Counters counters_;
};

TEST_F(SiteTest, ServesWhatIsInside) {
  const Site site(counters_, root_.string());
  struct Row {
    const char* target;
    const char* text;
  };
  for (const Row& row : {Row{"/page.html", "a page"}, Row{"/page.html?query", "a page"}, Row{"/p%61ge.html", "a page"},
                         Row{"/sub/", "an index"}, Row{"/sub/../page.html", "a page"}, Row{"//page.html", "a page"},
                         Row{"/./page.html", "a page"}, Row{"/way_in", "a page"}, Row{"/empty", ""},
                         Row{"/with%20space/%3Cb%3E&", "odd"}}) {
    const Response response = site.answer(row.target);
    EXPECT_EQ(response.status, 200) << row.target;
    EXPECT_EQ(text_of(response), row.text) << row.target;
  }
}

TEST_F(SiteTest, NothingOutside) {
  const Site site(counters_, root_.string());
  for (const char* target :
       {"/../outside", "/%2e%2e/outside", "/%2e%2e%2foutside", "/..%2foutside", "/sub/../../outside", "/way_out",
        "/../rootlike/file", "/../root/../outside", "/sub/%2e%2e/%2e%2e/outside", "//../outside", "/none",
        "/page.html/", "/page.html/x", "/sub/../../../../../../../../etc/passwd"}) {
    const Response response = site.answer(target);
    EXPECT_EQ(response.status, 404) << target;
    EXPECT_EQ(text_of(response).find("not for you"), std::string::npos) << target;
  }
  EXPECT_EQ(site.answer("/" + base_.string() + "/outside").status, 404);
}

TEST_F(SiteTest, NothingThatIsNoPath) {
  const Site site(counters_, root_.string());
  for (const char* target : {"", "page.html", "*", "%2", "/%", "/%00", "/page.html%00.png", "http://host/"}) {
    EXPECT_EQ(site.answer(target).status, 400) << target;
  }
  // A NUL as it is: whatever comes of it lies inside.
  const std::string_view with_nul("/sub\0/../../outside", 19);
  EXPECT_EQ(text_of(site.answer(with_nul)).find("not for you"), std::string::npos);
}

TEST_F(SiteTest, DirectoriesAreListedWithNamesEscaped) {
  const Site site(counters_, root_.string());
  const Response moved = site.answer("/with%20space");
  EXPECT_EQ(moved.status, 301);
  EXPECT_EQ(moved.location, "/with%20space/");
  const std::string listing = text_of(site.answer("/with%20space/"));
  EXPECT_NE(listing.find("href=\"./%3Cb%3E%26\""), std::string::npos) << listing;
  EXPECT_NE(listing.find("&lt;b&gt;&amp;"), std::string::npos) << listing;
  EXPECT_EQ(listing.find("<b>"), std::string::npos) << listing;
  // No redirection to another host: "//host" would be one.
  EXPECT_TRUE(site.answer("//sub").location.starts_with("/sub")) << site.answer("//sub").location;
}

TEST_F(SiteTest, BuiltInPages) {
  for (const std::string& root : {std::string(), root_.string()}) {
    const Site site(counters_, root);
    EXPECT_EQ(text_of(site.answer("/bytes/5")), "abcde");
    EXPECT_EQ(site.answer("/bytes/0").body->size(), 0u);
    EXPECT_EQ(site.answer("/bytes/5000000000").body->size(), 5'000'000'000u);
    const Response stats = site.answer("/stats");
    EXPECT_EQ(stats.status, 200);
    EXPECT_NE(text_of(stats).find(name_of(static_cast<Counter>(0))), std::string::npos);
    for (const char* target : {"/bytes/", "/bytes/x", "/bytes/-1", "/bytes/5x", "/bytes/99999999999999999999999"})
      EXPECT_GE(site.answer(target).status, 400) << target;
  }
  const Site bare(counters_, "");
  EXPECT_EQ(bare.answer("/").status, 200);
  EXPECT_EQ(bare.answer("/page.html").status, 404);
  EXPECT_EQ(bare.answer("/etc/passwd").status, 404);
}

// The pattern of /bytes/N goes on over the ends of its pieces.
TEST(Body, GeneratedBytesRepeatFromAnyOffset) {
  const auto body = Body::generated(1'000'000);
  std::array<char, 16> scratch;
  for (const std::uint64_t offset : {0u, 1u, 26u, 65535u, 65536u, 999'999u}) {
    const std::string_view part = body->at(offset, scratch);
    ASSERT_FALSE(part.empty()) << offset;
    EXPECT_LE(offset + part.size(), 1'000'000u);
  }
  EXPECT_EQ(body->at(999'999, scratch).size(), 1u);
}

}  // namespace
}  // namespace sluice::apps
